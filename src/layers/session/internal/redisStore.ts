import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Primitives } from "../../../services/Session.ts"
import { Meta } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { tooLarge } from "./entrySizes.ts"
import type { Database } from "./redisDatabase.ts"
import { expiredBefore } from "./retention.ts"

const decodeMeta = Schema.decodeUnknownOption(Schema.fromJsonString(Meta))

const text = (value: number | undefined): string => value === undefined ? "" : String(value)

const moved = new SessionError.Unavailable({
  description: "Others kept changing the conversation while its last item was being removed. Nothing was changed",
  isOutcomeUnknown: false
})

/**
 * The operations of a session over a store.
 *
 * @internal
 */
export const make = (
  { index, keysOf, run }: Database,
  patience: Duration.Duration
): Omit<Primitives, "backend" | "versions" | "operations"> => {
  const load: Primitives["load"] = (id, { known, maxItems }) =>
    Effect.map(run("read", "load", keysOf(id), [text(maxItems), text(known)]), ({ _tag, values }) => {
      if (_tag === "none") return { entries: [], version: 0, isSuffix: known === 0 }
      const [version, suffix, entries] = values as [number, number, ReadonlyArray<string>]
      return { entries, version, isSuffix: suffix === 1 }
    })

  const save: Primitives["save"] = (id, commit) => {
    const { entries, expectedVersion, fingerprint, operationId, savedAt } = commit
    const refused = tooLarge(entries)
    if (refused !== undefined) return Effect.fail(refused)
    return Effect.flatMap(
      run(operationId === undefined ? "write" : "operation", "save", keysOf(id), [
        id,
        String(savedAt),
        commit.meta === undefined ? "" : JSON.stringify(commit.meta),
        text(expectedVersion),
        operationId ?? "",
        fingerprint ?? "",
        String(expiredBefore(savedAt)),
        ...entries
      ]),
      ({ _tag, values }): Effect.Effect<{ readonly version: number }, SessionError.SessionErrorReason> => {
        const version = values[0] as number
        return _tag === "mismatch"
          ? Effect.fail(new SessionError.OperationMismatch({ operationId: operationId! }))
          : _tag === "conflict"
          ? Effect.fail(new SessionError.VersionConflict({ expected: expectedVersion!, actual: version }))
          : Effect.succeed({ version })
      }
    )
  }

  const rewrite: Primitives["rewrite"] = (id, { entries, savedAt, through }) => {
    const refused = tooLarge(entries)
    if (refused !== undefined) return Effect.fail(refused)
    return Effect.flatMap(
      run("write", "rewrite", keysOf(id), [id, String(through), String(savedAt), ...entries]),
      ({ _tag, values }) => {
        const version = values[0] as number
        return _tag === "conflict"
          ? Effect.fail(new SessionError.VersionConflict({ expected: through, actual: version }))
          : Effect.succeed({ version })
      }
    )
  }

  const pop: Primitives["pop"] = (id, check, savedAt) =>
    Effect.gen(function*() {
      const last = yield* run("read", "last", keysOf(id), [])
      if (last._tag === "none") return undefined
      const [version, entry] = last.values as [number, string]
      const refused = check(entry)
      if (refused !== undefined) return yield* Effect.fail(refused)
      const { _tag } = yield* run("write", "pop", keysOf(id), [id, String(version), String(savedAt)])
      return _tag === "moved" ? yield* Effect.fail(moved) : entry
    }).pipe(
      Effect.retry({
        while: (reason) => reason === moved,
        schedule: Schedule.exponential("1 millis", 1.5).pipe(Schedule.jittered, Schedule.upTo({ duration: patience }))
      })
    )

  const clear: Primitives["clear"] = (id, savedAt) =>
    Effect.asVoid(run("write", "clear", keysOf(id), [id, String(savedAt)]))

  const page: Primitives["page"] = (id, { after, limit }) =>
    Effect.map(run("read", "page", keysOf(id), [String(after), String(limit)]), ({ values }) => {
      const [epoch, entries, commits] = values as [number, ReadonlyArray<string>, ReadonlyArray<string | number>]
      let at = 0
      return {
        epoch,
        rows: entries.map((entry, position) => {
          const sequence = after + position + 1
          while (Number(commits[at + 1]) < sequence) at += 2
          const [, commit, savedAt, meta] = /^(\d+) (\S+) (.*)$/s.exec(String(commits[at]))!
          return {
            sequence,
            entry,
            commit: Number(commit),
            savedAt: Number(savedAt),
            meta: meta === "" ? undefined : Option.getOrUndefined(decodeMeta(meta))
          }
        })
      }
    })

  const list: Primitives["list"] = ({ after = "", limit, prefix }) =>
    Effect.map(
      run("read", "list", [index], [prefix, after, String(limit), keysOf("")[0]!]),
      ({ values }) =>
        (values as ReadonlyArray<[string, number, string]>)
          // Half of a surrogate pair becomes another character on its way.
          .filter(([id]) => id.startsWith(prefix))
          .map(([id, version, changedAt]) => ({ id, version, changedAt: Number(changedAt) }))
    )

  const maintain: Primitives["maintain"] = (id) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => Effect.asVoid(run("read", "forget", keysOf(id), [String(expiredBefore(now))]))
    )

  return { load, save, rewrite, pop, clear, page, list, maintain }
}
