import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionRedis from "agent-layers/layers/session/SessionRedis"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Effect, Exit, Redacted, Scope } from "effect"
import { createClient } from "redis"
import { describeLaws } from "../../support/laws.ts"
import { startRedis } from "../../support/redis.ts"
import { requires } from "../../support/requires.ts"
import { everything } from "../../support/session/subjects.ts"

const redis = requires("redis-server")

const scope = Effect.runSync(Scope.make())
const server = redis.available ? await Effect.runPromise(Scope.provide(startRedis(), scope)) : undefined!
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

/** A client apart from those of sessions, to look and to meddle. */
const client = Effect.acquireRelease(
  Effect.promise(() => createClient({ url: server.url }).on("error", () => undefined).connect()),
  (client) => Effect.sync(() => client.destroy())
)

/** Characters that mean something in keys, patterns and URLs. */
const prefix = "laws:{a}*%/é"

describe.skipIf(!redis.available)(redis.title("SessionRedis"), () => {
  describeLaws("SessionRedis", all, {
    open: Effect.suspend(() => SessionRedis.make({ url: Redacted.make(server.url), prefix, timeout: "300 millis" })),
    capabilities: everything,
    canReopen: true,
    faults: {
      corruptLast: (id) =>
        Effect.scoped(
          Effect.flatMap(client, (client) =>
            Effect.promise(() => client.lSet(`{${encodeURIComponent(prefix)}}:items:${id}`, -1, "{\"type\":")))
        ),
      outage: Effect.acquireRelease(
        Effect.sync(() => server.process().kill("SIGSTOP")),
        () => Effect.sync(() => server.process().kill("SIGCONT"))
      )
    }
  })
})
