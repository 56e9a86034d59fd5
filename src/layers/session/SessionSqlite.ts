/**
 * Conversations in an SQLite file, over `node:sqlite`: the default for one machine. Several processes may use one
 * file. Needs Node.js 22.19 or newer, which is asked for when the Layer is built, not when this module is imported.
 *
 * **Durability.** A commit that was answered survives the end of the process, `kill -9` included. With
 * `synchronous: "full"` it survives a power cut too, and costs a write to the disk of its own; the default may then
 * lose the last commits, but never damages the file.
 *
 * **Locks.** Within a process everybody who opens a file shares one connection. While another process holds the lock,
 * a call tries again after short pauses, without blocking the event loop, for up to `commitTimeout`.
 *
 * **Tables.** All names begin with `agent_layers_`, so that a program may keep tables of its own in the same file. The
 * file is put into WAL mode, which keeps two files beside it while it is open.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { MakeOptions } from "../../services/Session.ts"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as database from "./internal/sqliteDatabase.ts"
import * as driver from "./internal/sqliteDriver.ts"
import * as store from "./internal/sqliteStore.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends MakeOptions {
  /**
   * Path of the database, relative to the working directory; it is created where it does not exist, its folder is not.
   * `:memory:` is a database of this Layer alone, which is gone when the scope closes.
   */
  readonly filename: string
  /**
   * `"normal"`: a commit survives the end of the process. `"full"`: and a power cut. Where Layers share a file, the
   * stronger one holds for all of them.
   *
   * @default "normal"
   */
  readonly synchronous?: "normal" | "full" | undefined
}

const backend = "sqlite"

/**
 * A session in an SQLite file, open until the scope closes. Fails with `Unsupported` on a Node.js that is too old or
 * on a file of a newer version, with `CorruptStore` on a file that is no database, with `Unavailable` where the file
 * cannot be opened or written; such a file is left as it is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Scope.Scope> {
  const patience = Duration.fromInputUnsafe(options.commitTimeout ?? "30 seconds")
  const { transaction } = yield* Effect.gen(function*() {
    if (options.filename === "") {
      return yield* new SessionError.InvalidInput({
        description: `filename is empty; pass the path of a file, or ":memory:"`
      })
    }
    return yield* database.open({
      driver: yield* driver.load(process.versions.node),
      filename: options.filename,
      synchronous: options.synchronous ?? "normal",
      patience
    })
  }).pipe(Effect.mapError((reason) => new SessionError.SessionError({ backend, operation: "open", reason })))

  return Session.make({
    backend,
    versions: true,
    operations: true,
    load: (id, load) => transaction("read", store.load(id, load)),
    save: (id, commit) => transaction("write", store.save(id, commit)),
    rewrite: (id, rewrite) => transaction("write", store.rewrite(id, rewrite)),
    pop: (id, check, savedAt) => transaction("write", store.pop(id, check, savedAt)),
    clear: (id, savedAt) => transaction("write", store.clear(id, savedAt)),
    page: (id, page) => transaction("read", store.page(id, page)),
    list: (list) => transaction("read", store.list(list)),
    maintain: (id) => Effect.flatMap(Clock.currentTimeMillis, (now) => transaction("write", store.maintain(id, now)))
  }, {
    onCorruptItem: options.onCorruptItem,
    // A transaction is over within its own patience, and then says whether it happened.
    commitTimeout: Duration.times(patience, 2)
  })
})

/**
 * Conversations in an SQLite file. The file is closed when the Layer is; calls fail with `Closed` then.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Session.Session, SessionError.SessionError> =>
  Layer.effect(Session.Session, make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Layer.Layer<Session.Session, SessionError.SessionError | Config.ConfigError> =>
  Layer.effect(Session.Session, Effect.flatMap(Config.unwrap(config), make))
