import { describe, expectTypeOf, it } from "@effect/vitest"
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionFallback from "agent-layers/layers/session/SessionFallback"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import * as Session from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { Context, Effect, Layer } from "effect"

class Pool extends Context.Service<Pool, number>()("test/Pool") {}
class PoolError extends Error {
  readonly _tag = "PoolError"
}

declare const keys: ReadonlyArray<SessionEncrypted.Key>
declare const Pooled: Layer.Layer<Session.Session, PoolError, Pool>
declare const Model: Layer.Layer<ModelProvider>

const cached = SessionCached.layer()
const compressed = SessionCompressed.layer()
const encrypted = SessionEncrypted.layer({ keys })
const compacted = SessionCompacted.layer({ compact: SessionCompacted.summary() })
const fallback = SessionFallback.layer({ backups: [{ name: "pooled", layer: Pooled }] })
const Sqlite = SessionSqlite.layer({ filename: "a.db" })

describe("Session.wrap", () => {
  it("provides what its layers provide, and requires what they require but the session", () => {
    expectTypeOf(Session.wrap(Sqlite, [cached, compressed])).toEqualTypeOf<
      Layer.Layer<Session.Session, SessionError>
    >()
    expectTypeOf(Session.wrap(SessionMemory.layer, [cached, compressed, encrypted])).toEqualTypeOf<
      Layer.Layer<Session.Session | Session.Sealed | SessionEncrypted.Rotation, SessionError>
    >()
    expectTypeOf(Session.wrap(SessionMemory.layer, [])).toEqualTypeOf<Layer.Layer<Session.Session>>()
    expectTypeOf(Session.wrap(SessionMemory.layer, [compacted, fallback, Session.prefixed("ada")])).toEqualTypeOf<
      Layer.Layer<Session.Session, SessionError | PoolError, ModelProvider | Pool>
    >()
  })

  it("wants layers of a session", () => {
    // @ts-expect-error no session is provided
    Session.wrap(Layer.succeed(Pool, 1), [cached])
    // @ts-expect-error no session is provided
    Session.wrap(SessionMemory.layer, [Layer.succeed(Pool, 1)])
  })

  it("takes what looks into items outside of what hides them only", () => {
    Session.wrap(Sqlite, [compacted, cached, compressed, encrypted])
    Session.wrap(Sqlite, [cached, compacted, encrypted])
    // @ts-expect-error "This decorator looks into items: put it before those that encrypt or compress them"
    Session.wrap(Sqlite, [encrypted, compacted])
    // @ts-expect-error "This decorator looks into items: put it before those that encrypt or compress them"
    Session.wrap(Sqlite, [compressed, cached, compacted])
  })

  it("takes a list whose order is known at run time only", () => {
    const list: ReadonlyArray<Layer.Layer<Session.Session, SessionError, Session.Session>> = [cached, encrypted]
    expectTypeOf(Session.wrap(Sqlite, list)).toEqualTypeOf<Layer.Layer<Session.Session, SessionError>>()
  })
})

describe("a program that requires a sealed store", () => {
  const agent = Agent.make({ name: "clerk" })
  const program = Session.requireSealed(Runner.run(agent, "Hello!", { conversationId: "ada" }))
  const runs = <A, E>(effect: Effect.Effect<A, E>): unknown => effect

  it("has Sealed in the place of Session", () => {
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<ModelProvider | Session.Sealed>()
  })

  it("compiles over a stack with encryption", () => {
    runs(Effect.provide(program, [Model, Session.wrap(Sqlite, [cached, compressed, encrypted])]))
    runs(Effect.provide(program, [Model, Session.wrap(Sqlite, [encrypted, cached])]))
    runs(Effect.provide(program, [Model, encrypted.pipe(Layer.provide(Sqlite))]))
    const Inner = Session.wrap(Sqlite, [encrypted])
    runs(Effect.provide(program, [Model, Session.wrap(Inner, [cached])]))
  })

  it("does not compile when encryption is taken out", () => {
    // @ts-expect-error Sealed is missing
    runs(Effect.provide(program, [Model, Session.wrap(Sqlite, [cached, compressed])]))
    // @ts-expect-error Sealed is missing
    runs(Effect.provide(program, [Model, Sqlite]))
  })
})

describe("decorators", () => {
  it("require the session that they provide", () => {
    expectTypeOf<Layer.Services<typeof encrypted>>().toEqualTypeOf<Session.Session>()
    expectTypeOf<Layer.Services<typeof compacted>>().toEqualTypeOf<Session.Session | ModelProvider>()
    expectTypeOf<Layer.Error<typeof fallback>>().toEqualTypeOf<SessionError | PoolError>()
    // @ts-expect-error a decorator that is merged still requires a session
    const merged: Layer.Layer<Session.Session, SessionError> = Layer.merge(cached, SessionMemory.layer)
    expectTypeOf(merged).not.toBeAny()
  })

  it("have no any in what they take and give", () => {
    expectTypeOf<SessionEncrypted.Options>().not.toBeAny()
    expectTypeOf<Layer.Error<typeof compacted>>().toEqualTypeOf<SessionError>()
    expectTypeOf<Parameters<SessionCompacted.Options["compact"]>[0]>().not.toBeAny()
  })
})
