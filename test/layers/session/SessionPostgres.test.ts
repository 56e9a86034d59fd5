import { afterAll, assert, describe, it } from "@effect/vitest"
import * as SessionPostgres from "agent-layers/layers/session/SessionPostgres"
import { all } from "agent-layers/services/laws/SessionLaws"
import { Effect, Exit, Scope } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { connect, startPostgres } from "../../support/postgres.ts"
import { everything } from "../../support/session/subjects.ts"

const scope = Effect.runSync(Scope.make())
const server = await Effect.runPromise(Scope.provide(startPostgres, scope))
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const lawsUrl = await Effect.runPromise(server.freshDatabase)

const corruptLast = (id: string) =>
  Effect.scoped(
    Effect.flatMap(connect(lawsUrl), (sql) =>
      sql`UPDATE agent_layers_items SET entry = '{"type":' WHERE (conversation, sequence) = (
      SELECT i.conversation, i.sequence FROM agent_layers_items AS i
      JOIN agent_layers_conversations AS c ON c.key = i.conversation
      WHERE c.id = ${id} ORDER BY i.sequence DESC LIMIT 1
    )`)
  )

/** Somebody else holds the tables for writing. */
const outage = Effect.gen(function*() {
  const sql = yield* connect(lawsUrl)
  const connection = yield* sql.reserve
  yield* connection.executeUnprepared("BEGIN", [], undefined)
  yield* connection.executeUnprepared("LOCK TABLE agent_layers_conversations IN SHARE MODE", [], undefined)
  yield* Effect.addFinalizer(() => Effect.ignore(connection.executeUnprepared("ROLLBACK", [], undefined)))
})

describeLaws("SessionPostgres", all, {
  open: SessionPostgres.make({ url: lawsUrl, statementTimeout: "300 millis" }),
  capabilities: everything,
  canReopen: true,
  faults: { corruptLast, outage }
})
