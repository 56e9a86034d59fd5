import * as Result from "effect/Result"
import { constants, deflateRawSync, inflateRawSync } from "node:zlib"
import { decode } from "../../../services/internal/session.ts"
import type { Item } from "../../../services/Item.ts"
import * as SessionError from "../../../services/SessionError.ts"
import type { Mapping } from "./mapped.ts"

/** Twice as fast as the default, and hardly larger. */
const level = 3

const encoding = "deflate-raw"

interface Packed {
  readonly v: unknown
  readonly encoding: unknown
  readonly size: unknown
  readonly data: unknown
}

const tooLarge = (maximum: number, actual: number) =>
  new SessionError.LimitExceeded({ limit: "Bytes of an item that is compressed", maximum, actual })

/**
 * @internal
 */
export const make = (
  { maxItemBytes, threshold }: { readonly threshold: number; readonly maxItemBytes: number }
): Mapping => {
  const close: Mapping["close"] = (entry, item) => {
    const bytes = Buffer.from(entry)
    if (bytes.length > maxItemBytes) return Result.fail(tooLarge(maxItemBytes, bytes.length))
    // What looks packed would be unpacked when it is read.
    const mustPack = item.type === "packed"
    if (!mustPack && bytes.length < threshold) return Result.succeed(item)
    const data = deflateRawSync(bytes, { level }).toString("base64")
    return Result.succeed(
      mustPack || data.length < bytes.length * 0.9
        ? { type: "packed", v: 1, encoding, size: bytes.length, data }
        : item
    )
  }

  const open: Mapping["open"] = (item, position) => {
    if (item.type !== "packed") return Result.succeed(item)
    const corrupt = (description: string) =>
      Result.fail(new SessionError.CorruptItem({ position, description: `packed: ${description}` }))
    const { data, encoding: found, size, v } = item as unknown as Packed
    if (v !== 1 || found !== encoding) return corrupt("of a form that this version does not know")
    if (typeof data !== "string" || typeof size !== "number" || !Number.isSafeInteger(size) || size < 1) {
      return corrupt("without size or data")
    }
    if (size > maxItemBytes) return Result.fail(tooLarge(maxItemBytes, size))
    return Result.flatMap(
      Result.try({
        try: () =>
          inflateRawSync(Buffer.from(data, "base64"), { maxOutputLength: size, finishFlush: constants.Z_FINISH }),
        catch: () => new SessionError.CorruptItem({ position, description: "packed: it does not unpack to its size" })
      }),
      (bytes) => {
        if (bytes.length !== size) return corrupt("it does not unpack to its size")
        const opened = decode(bytes.toString("utf8"))
        return Result.isFailure(opened) ? corrupt(opened.failure) : Result.succeed<Item>(opened.success)
      }
    )
  }

  // What a library makes of the same bytes may change from one version to the next.
  return { close, open, fingerprint: (fingerprint) => fingerprint }
}
