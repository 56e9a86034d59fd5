import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SessionError from "../../../services/SessionError.ts"
import { corrupt, fail, Failure, isNoScript, toFailure } from "./redisErrors.ts"
import type { ScriptName } from "./redisScripts.ts"
import { scripts } from "./redisScripts.ts"

/** @internal */
export interface Options {
  readonly send: (command: string, ...args: ReadonlyArray<string>) => Effect.Effect<unknown, unknown>
  /** Names the server in errors; no secret is in it. */
  readonly server: string
  /** Takes secrets out of what the server says. */
  readonly scrub: (text: string) => string
  readonly prefix: string
  /** How long a command may take. */
  readonly timeout: Duration.Duration
}

/** What the stored keys look like. */
const format = 1

/**
 * - `read`: may be done again when its answer was lost.
 * - `operation`: a write that may be, because its operation id is remembered.
 * - `write`: one that may not.
 *
 * @internal
 */
export type Kind = "read" | "operation" | "write"

/** How often something is done again whose answer was lost. */
const maxLost = 2

/** An answer without its first word, or the first word where it is not "ok". */
export type Answer = { readonly _tag: string; readonly values: ReadonlyArray<unknown> }

/** @internal */
export interface Database {
  /** Runs a script over the keys of a conversation, or over one key of the store. */
  readonly run: (
    kind: Kind,
    script: ScriptName,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) => Effect.Effect<Answer, SessionError.SessionErrorReason>
  readonly keysOf: (id: string) => ReadonlyArray<string>
  readonly index: string
}

/**
 * Opens a store until the scope closes; then it fails with `Closed`.
 *
 * The prefix stands in braces, which puts all its keys on one node of a cluster, and is escaped, so that the first brace
 * that closes is its end: no two prefixes have a key in common, whatever is in them or in the ids.
 *
 * @internal
 */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Database, SessionError.SessionErrorReason, Scope.Scope> {
  const { prefix, scrub, send, server, timeout } = options
  const root = `{${encodeURIComponent(prefix)}}:`
  let isClosed = false

  const shas = new Map<ScriptName, string>()
  const shaOf = (script: ScriptName): Effect.Effect<string, unknown> => {
    const known = shas.get(script)
    return known === undefined
      ? Effect.map(send("SCRIPT", "LOAD", scripts[script]), (sha) => {
        shas.set(script, String(sha))
        return String(sha)
      })
      : Effect.succeed(known)
  }

  const once = (
    kind: Kind,
    script: ScriptName,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ): Effect.Effect<unknown, Failure> => {
    const rest = [String(keys.length), ...keys, ...args]
    return Effect.flatMap(shaOf(script), (sha) => send("EVALSHA", sha, ...rest)).pipe(
      // A server that was restarted does not know it any more. Nothing happened then.
      Effect.catchIf(isNoScript, () => send("EVAL", scripts[script], ...rest)),
      Effect.mapError((error) => toFailure(error, { server, scrub, during: kind === "read" ? "read" : "write" })),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () =>
          Effect.fail(
            new Failure(
              "lost",
              new SessionError.Unavailable({
                description: `${server} did not answer within ${Duration.format(timeout)}`,
                isOutcomeUnknown: kind !== "read"
              })
            )
          )
      })
    )
  }

  const run: Database["run"] = (kind, script, keys, args) =>
    Effect.suspend(() => {
      if (isClosed) return Effect.fail(new SessionError.Closed({}))
      let lost = 0
      return once(kind, script, keys, args).pipe(
        Effect.tapError((failure) =>
          Effect.sync(() => {
            if (failure.kind === "lost") lost++
          })
        ),
        Effect.retry({
          while: (failure) =>
            failure.kind === "busy" || (failure.kind === "lost" && kind !== "write" && lost <= maxLost),
          schedule: Schedule.min([Schedule.exponential("10 millis", 2), Schedule.spaced("200 millis")]).pipe(
            Schedule.jittered,
            Schedule.upTo({ duration: timeout })
          )
        }),
        Effect.mapError(({ reason }) =>
          // Whatever came of a later attempt, the first may have been stored.
          lost > 0 && kind !== "read" && reason._tag === "Unavailable" && !reason.isOutcomeUnknown
            ? new SessionError.Unavailable({
              description: reason.description.replace(/\. Nothing was changed$/, ""),
              isOutcomeUnknown: true,
              cause: reason.cause
            })
            : reason
        ),
        Effect.flatMap((answer) => {
          const [tag, ...values] = Array.isArray(answer) ? answer as Array<unknown> : ["nonsense"]
          return tag === "corrupt"
            ? Effect.fail(corrupt(
              `Parts of the conversation are missing in ${server}: keys were deleted, or the server evicts them ` +
                `(its maxmemory-policy must be noeviction)`
            ))
            : Effect.succeed({ _tag: String(tag), values })
        })
      )
    })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      isClosed = true
    })
  )

  const { values } = yield* run("read", "open", [`${root}format`], [String(format)])
  if (values[0] !== format) {
    return yield* fail(
      new SessionError.Unsupported({
        description: `The prefix "${prefix}" of ${server} was written by a newer agent-layers: its keys have format ` +
          `${String(values[0])}, this program knows format ${format}. Use the newer agent-layers, or another prefix. ` +
          `The keys were left as they are`
      })
    ).reason
  }
  return {
    run,
    keysOf: (id) => [
      `${root}conversation:${id}`,
      `${root}items:${id}`,
      `${root}commits:${id}`,
      `${root}operations:${id}`,
      `${root}order:${id}`,
      `${root}index`
    ],
    index: `${root}index`
  }
})
