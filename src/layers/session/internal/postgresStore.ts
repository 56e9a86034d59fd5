import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Primitives } from "../../../services/Session.ts"
import { Meta } from "../../../services/Session.ts"
import * as SessionError from "../../../services/SessionError.ts"
import { tooLarge } from "./entrySizes.ts"
import type { Database } from "./postgresDatabase.ts"
import type { Failure } from "./postgresErrors.ts"
import { fail, moved } from "./postgresErrors.ts"
import type { Query } from "./postgresSchema.ts"
import type { Names } from "./postgresStatements.ts"
import * as statements from "./postgresStatements.ts"
import { expiredBefore, maxOperations } from "./retention.ts"

const decodeMeta = Schema.decodeUnknownOption(Schema.fromJsonString(Meta))

const text = (value: number | undefined): string | null => value === undefined ? null : String(value)

/**
 * The operations of a session over a database.
 *
 * @internal
 */
export const make = (database: Database, names: Names): Omit<Primitives, "backend" | "versions" | "operations"> => {
  const sql = statements.make(names, maxOperations)
  const { run } = database

  const load: Primitives["load"] = (id, { known, maxItems }) =>
    run("read", (query) =>
      // One more than is asked for tells whether there is more.
      Effect.map(query(sql.load, [id, text(known), maxItems === undefined ? null : String(maxItems + 1)]), (rows) => {
        if (rows.length === 0) return { entries: [], version: 0, isSuffix: known === 0 }
        const [version, epoch, first] = rows[0] as readonly [number, number, string | null]
        const entries = first === null ? [] : rows.map((row) => row[2] as string)
        const isCut = maxItems !== undefined && entries.length > maxItems
        return {
          entries: isCut ? entries.slice(entries.length - maxItems) : entries,
          version,
          isSuffix: known !== undefined && known >= epoch && known <= version && !isCut
        }
      }))

  const done = (operationId: string, fingerprint: string | undefined, found: string, version: number) =>
    found === fingerprint
      ? Effect.succeed({ version })
      : Effect.fail(fail(new SessionError.OperationMismatch({ operationId })))

  const save: Primitives["save"] = (id, commit) => {
    const { entries, expectedVersion, fingerprint, operationId, savedAt } = commit
    const refused = tooLarge(entries)
    if (refused !== undefined) return Effect.fail(refused)
    const parameters = [
      id,
      entries,
      String(savedAt),
      commit.meta === undefined ? null : JSON.stringify(commit.meta),
      text(expectedVersion),
      operationId ?? null,
      fingerprint ?? null,
      String(expiredBefore(savedAt))
    ]
    return run(
      operationId === undefined ? "write" : "operation",
      Effect.fnUntraced(function*(query: Query): Effect.fn.Return<{ readonly version: number }, Failure> {
        const [row] = yield* query(sql.save, parameters)
        const [version, found, left] = row as readonly [number | null, string | null, number | null]
        if (version !== null) return { version }
        if (found !== null) return yield* done(operationId!, fingerprint, found, left!)
        // Both may have changed since the statement began.
        const [now] = yield* query(sql.find, [id, operationId ?? null])
        const [actual, , late, lateVersion] = (now ?? [0, 0, null, null]) as readonly [
          number,
          number,
          string | null,
          number | null
        ]
        if (late !== null) return yield* done(operationId!, fingerprint, late, lateVersion!)
        if (expectedVersion === undefined || expectedVersion === actual) return yield* Effect.fail(moved)
        return yield* Effect.fail(fail(new SessionError.VersionConflict({ expected: expectedVersion, actual })))
      })
    )
  }

  const rewrite: Primitives["rewrite"] = (id, { entries, savedAt, through }) => {
    const refused = tooLarge(entries)
    if (refused !== undefined) return Effect.fail(refused)
    return run(
      "write",
      Effect.fnUntraced(function*(query: Query): Effect.fn.Return<{ readonly version: number }, Failure> {
        const [now] = yield* query(sql.find, [id, null])
        const [actual, epoch] = (now ?? [0, 0]) as readonly [number, number]
        if (through > actual || through < epoch) {
          return yield* Effect.fail(fail(new SessionError.VersionConflict({ expected: through, actual })))
        }
        const [row] = yield* query(sql.rewrite, [id, String(actual), String(through), entries, String(savedAt)])
        return row === undefined ? yield* Effect.fail(moved) : { version: row[0] as number }
      })
    )
  }

  const pop: Primitives["pop"] = (id, check, savedAt) =>
    run(
      "write",
      Effect.fnUntraced(function*(query: Query): Effect.fn.Return<string | undefined, Failure> {
        const [last] = yield* query(sql.last, [id])
        if (last === undefined) return undefined
        const [version, sequence, entry] = last as readonly [number, string, string]
        const refused = check(entry)
        if (refused !== undefined) return yield* Effect.fail(fail(refused))
        const [row] = yield* query(sql.pop, [id, String(version), sequence, String(savedAt)])
        return row === undefined ? yield* Effect.fail(moved) : entry
      })
    )

  const clear: Primitives["clear"] = (id, savedAt) =>
    run("write", (query) =>
      Effect.flatMap(query(sql.clear, [id, String(savedAt)]), ([row]) => {
        const [wasThere, isCleared] = row as readonly [boolean, boolean]
        return wasThere && !isCleared ? Effect.fail(moved) : Effect.void
      }))

  const page: Primitives["page"] = (id, { after, limit }) =>
    run("read", (query) =>
      Effect.map(query(sql.page, [id, String(after), String(limit)]), (rows) => ({
        epoch: rows.length === 0 ? 0 : rows[0]![0] as number,
        rows: (rows as ReadonlyArray<readonly [number, number | null, string, number, number, string | null]>).flatMap(
          ([, sequence, entry, commit, savedAt, meta]) =>
            sequence === null ? [] : [{
              sequence,
              entry,
              commit,
              savedAt,
              meta: meta === null ? undefined : Option.getOrUndefined(decodeMeta(meta))
            }]
        )
      })))

  const list: Primitives["list"] = ({ after = "", limit, prefix }) =>
    // No id holds a NUL character, and no statement can.
    prefix.includes("\0") ?
      Effect.succeed([]) :
      run("read", (query) =>
        Effect.map(query(sql.list, [after, prefix, String(limit)]), (rows) => {
          const all = rows as ReadonlyArray<readonly [string, number, number]>
          // Ids that begin with the prefix follow one another.
          const end = all.findIndex(([id]) => !id.startsWith(prefix))
          return all.slice(0, end < 0 ? all.length : end)
            .map(([id, version, changedAt]) => ({ id, version, changedAt }))
        }))

  const maintain: Primitives["maintain"] = (id) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => run("read", (query) => Effect.asVoid(query(sql.forget, [id, String(expiredBefore(now))])))
    )

  return { load, save, rewrite, pop, clear, page, list, maintain }
}
