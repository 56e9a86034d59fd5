/**
 * Compresses the items of the session below: a decorator. Each item is compressed on its own, so that one item stays
 * one item for `popItem`, `maxItems` and `records`, and reading the latest few unpacks no more than those.
 *
 * Stands outside encryption: what is encrypted does not shrink. A stored item is
 * `{ type: "packed", v: 1, encoding: "deflate-raw", size, data }`; short items, and those that would not get smaller,
 * are stored as they are, and so what was stored before the decorator came is read as it is.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Session from "../../services/Session.ts"
import * as SessionError from "../../services/SessionError.ts"
import * as mapped from "./internal/mapped.ts"
import * as packing from "./internal/packing.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Items whose JSON text has fewer bytes are stored as they are.
   *
   * @default 512
   */
  readonly threshold?: number | undefined
  /**
   * The largest item in bytes of JSON text: a larger one is refused with `LimitExceeded` when it is saved, and when it
   * is read not unpacked further than that.
   *
   * @default 67_108_864
   */
  readonly maxItemBytes?: number | undefined
  /**
   * What reading does with a packed item that cannot be unpacked: fail with `CorruptItem` or `LimitExceeded`, or leave it
   * out and log it. It stays stored either way, and neither `popItem` nor `rewrite` takes it away.
   *
   * @default "fail"
   */
  readonly onCorruptItem?: "fail" | "skip" | undefined
}

const name = "compressed"

/**
 * The session in the context, compressed. Fails with `Unsupported` on one that does not keep items of any type or that
 * looks into them, with `InvalidInput` on limits that are no numbers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Session.Session["Service"], SessionError.SessionError, Session.Session> {
  const inner = yield* Session.Session
  const { maxItemBytes = 64 * 1024 * 1024, threshold = 512 } = options
  yield* mapped.requireHidable(name, inner)
  for (const [option, value] of Object.entries({ maxItemBytes, threshold })) {
    if (!(value >= 0)) {
      return yield* mapped.refuseOption(name, `${option} is ${value}; pass a number of bytes, 0 or more`)
    }
  }
  const mapping = packing.make({ threshold, maxItemBytes })
  return mapped.make({
    name,
    inner,
    capabilities: inner.capabilities,
    mapping: () => mapping,
    onClosed: options.onCorruptItem ?? "fail"
  })
})

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Session.Decorator<SessionError.SessionError, never, Session.Session, "hides"> =>
  Layer.effect(Session.Session, make(options))

/**
 * As `layer`, with options from configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Wrap<Options>
): Session.Decorator<SessionError.SessionError | Config.ConfigError, never, Session.Session, "hides"> =>
  Layer.effect(Session.Session, Effect.flatMap(Config.unwrap(config), make))
