import * as Result from "effect/Result"
import * as SemVer from "effect/SemVer"
import * as SemVerRange from "effect/SemVerRange"
import type { Compatibility } from "./extensionModel.ts"

const parts = (version: string) => Result.getOrUndefined(SemVer.parse(version))

/**
 * Whether a version lies in a range as npm has it. A prerelease does where npm says so, and also where both it and the
 * release that it leads to do: `0.1.2-beta.1` lies in `^0.1.0`, and `0.2.0-rc.1` does not in `>=0.1.0 <0.2.0`.
 */
const lies = (version: SemVer.SemVer, range: SemVerRange.SemVerRange): boolean =>
  SemVerRange.matches(range, version) || (
    SemVer.isPrerelease(version) &&
    SemVerRange.matches(range, version, { includePrerelease: true }) &&
    SemVerRange.matches(range, SemVer.release(version))
  )

/** The lowest version that a range names. */
const lowest = (range: string): SemVer.SemVer | undefined =>
  (range.match(/\d+(?:\.\d+){0,2}(?:-[\w.-]+)?/g) ?? [])
    .flatMap((text) => {
      const [core = "", ...rest] = text.split("-")
      const full = [...core.split("."), "0", "0"].slice(0, 3).join(".")
      return parts([full, ...rest].join("-")) ?? []
    })
    .sort(SemVer.Order)[0]

/** @internal */
export const isRange = (range: string): boolean => Result.isSuccess(SemVerRange.parse(range))

/** @internal */
export const isVersion = (version: string): boolean => parts(version) !== undefined

/** @internal */
export const compare = (
  subject: string,
  required: string,
  found: string,
  who: string
): Compatibility => {
  const incompatible = (doNext: string): Compatibility => ({ _tag: "Incompatible", required, found, doNext })
  const range = Result.getOrUndefined(SemVerRange.parse(required))
  if (range === undefined) {
    return incompatible(`"${required}" is no range of versions: ${who} has to name one, such as "^0.1.0"`)
  }
  const version = parts(found)
  if (version === undefined) return incompatible(`"${found}" is no version, such as "0.1.0"`)
  if (lies(version, range)) return { _tag: "Compatible" }
  const least = lowest(required)
  return incompatible(
    least !== undefined && SemVer.isLessThan(version, least)
      ? `Install a newer ${subject}: npm install ${subject}@"${required}"`
      : `Look for a newer version of ${who} that works with ${subject} ${found}, or go back: npm install ` +
        `${subject}@"${required}"`
  )
}
