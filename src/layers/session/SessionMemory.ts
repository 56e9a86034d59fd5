/**
 * Conversations in the memory of this process: for tests, scripts and programs that need no more. Everything that the
 * contract promises holds, and nothing outlives the process.
 *
 * A Layer keeps a store of its own; with `layerWith({ store })` several Layers, or one that is built again, share one.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { MakeOptions } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as memory from "./internal/memoryStore.ts"

const TypeId = "~agent-layers/layers/session/SessionMemory/Store" as const

/**
 * Where conversations are kept. It lives as long as somebody holds it, so that a test can show what a program finds
 * after a restart.
 *
 * @category models
 * @since 0.1.0
 */
export interface Store {
  readonly [TypeId]: memory.MemoryStore
}

/**
 * An empty store.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeStore: Effect.Effect<Store> = Effect.sync(() => ({ [TypeId]: memory.make() }))

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends MakeOptions {
  /**
   * Where to keep conversations. Absent: a store of its own, which is gone when the scope closes.
   */
  readonly store?: Store | undefined
}

/**
 * A session over a store in memory. Fails with `Closed` when it is used after its scope; a store that was passed in
 * keeps its content.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Session.Session["Service"], never, Scope.Scope> {
  const store = (options.store ?? (yield* makeStore))[TypeId]
  let isClosed = false
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
    })
  )

  const run = <A>(f: () => A): Effect.Effect<A, SessionError.Closed> =>
    Effect.suspend(() => isClosed ? Effect.fail(new SessionError.Closed({})) : Effect.succeed(f()))

  const attempt = <A>(
    f: () => Result.Result<A, SessionError.SessionErrorReason>
  ): Effect.Effect<A, SessionError.SessionErrorReason> => Effect.flatMap(run(f), Effect.fromResult)

  return Session.make({
    backend: "memory",
    versions: true,
    operations: true,
    load: (id, load) => run(() => memory.load(store, id, load)),
    save: (id, commit) => attempt(() => memory.save(store, id, commit)),
    rewrite: (id, rewrite) => attempt(() => memory.rewrite(store, id, rewrite)),
    pop: (id, check, savedAt) => attempt(() => memory.pop(store, id, check, savedAt)),
    clear: (id, savedAt) => run(() => memory.clear(store, id, savedAt)),
    page: (id, page) => run(() => memory.page(store, id, page)),
    list: (list) => run(() => memory.list(store, list)),
    maintain: (id) => Effect.flatMap(Clock.currentTimeMillis, (now) => run(() => memory.maintain(store, id, now)))
  }, options)
})

/**
 * A Layer with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Session.Session> =>
  Layer.effect(Session.Session, make(options))

/**
 * Conversations in memory. Each time the Layer is built it starts empty; within one program it is built once.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Session.Session> = layerWith({})
