import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CreateOptions, Guarantees, Manifest, Sandbox, SandboxSession, SandboxState } from "../../Sandbox.ts"
import type { SandboxErrorReason } from "../../SandboxError.ts"
import { isSandboxError } from "../../SandboxError.ts"
import type { Law } from "../Law.ts"
import { failure, holds, LawBroken, stays } from "../Law.ts"

/**
 * What the laws are run over. What a subject cannot give leaves the laws that need it unshown.
 *
 * @category models
 * @since 0.1.0
 */
export interface SandboxSubject {
  readonly open: Effect.Effect<Sandbox["Service"], unknown, Scope.Scope>
  /** What the backend claims. */
  readonly guarantees: Guarantees
  /** Whether commands really run, by a POSIX shell. Default: true. */
  readonly hasShell?: boolean | undefined
  /** The number of workspaces that there are now, those left behind included. */
  readonly workspaces?: Effect.Effect<number, unknown> | undefined
  /** Makes a kept workspace disappear. */
  readonly lose?: ((state: SandboxState) => Effect.Effect<void, unknown>) | undefined
  /**
   * A directory on this machine with `one.txt` ("one"), `run.sh` (executable), `sub/two.txt` ("two"), `sub/key.pem`,
   * `.git/config` and `link` (a link to `one.txt`).
   */
  readonly directory?: Effect.Effect<string, unknown, Scope.Scope> | undefined
  /** Things of the host that commands may reach where a guarantee is not claimed. */
  readonly host?: {
    /** A file that this process can read, and its content. */
    readonly file?: { readonly path: string; readonly content: string } | undefined
    /** A variable of this process. */
    readonly variable?: { readonly name: string; readonly value: string } | undefined
    /** A process of this user. */
    readonly pid?: number | undefined
    /** Shell command lines that succeed if they reach a service of this host. */
    readonly connect?: ReadonlyArray<string> | undefined
    /**
     * Shell command lines that succeed if they open a socket of a family that no network namespace holds back, such as
     * AF_VSOCK.
     */
    readonly openSocket?: ReadonlyArray<string> | undefined
    /**
     * Shell command lines that succeed if the kernel takes a system call that changes the machine or reaches around
     * namespaces. Their arguments do no harm.
     */
    readonly systemCalls?: ReadonlyArray<string> | undefined
    /** The user of this process, and how to see to whom a file of a workspace belongs. */
    readonly identity?: {
      readonly user: number
      readonly ownerOf: (state: SandboxState, path: string) => Effect.Effect<number, unknown>
    } | undefined
    /** A shell command line that succeeds if it could take more memory than is allowed. */
    readonly takeMemory?: string | undefined
    /** A shell command line that succeeds if it could take more processor time than is allowed. */
    readonly takeTime?: string | undefined
  } | undefined
}

export type Session = SandboxSession["Service"]

const decoder = new TextDecoder()

export const create = (subject: SandboxSubject, manifest?: Manifest, options?: CreateOptions) =>
  Effect.flatMap(subject.open, (sandbox) => sandbox.create(manifest, options))

export const text = (session: Session, path: string) =>
  Effect.map(session.readFile(path), (bytes) => decoder.decode(bytes))

export const refused = <A, E, R>(
  operation: string,
  tag: SandboxErrorReason["_tag"],
  effect: Effect.Effect<A, E, R>
): Effect.Effect<void, LawBroken, R> =>
  Effect.flatMap(failure(operation, `SandboxError ${tag}`, effect), (error) =>
    isSandboxError(error)
      ? holds(operation, `SandboxError ${tag}`, error.reason._tag === tag, `${error.reason._tag}: ${error.message}`)
      : new LawBroken({ operation, expected: `SandboxError ${tag}`, got: String(error) }))

export const run = (session: Session, command: string) =>
  Effect.flatMap(session.exec(command, { timeout: "20 seconds" }), (result) =>
    result.exitCode === 0
      ? Effect.succeed(result.stdout)
      : new LawBroken({
        operation: `exec ${command}`,
        expected: "exit code 0",
        got: `${result.exitCode}: ${result.stdout}${result.stderr}`
      }))

/** Writes to the file `beats` for as long as it lives, in a session of its own where that can be had. */
export const heart =
  `S=; command -v setsid > /dev/null && S=setsid; $S sh -c 'while :; do echo x >> beats; sleep 0.05; done' > /dev/null 2>&1 & ` +
  "while [ ! -s beats ]; do sleep 0.02; done; "

export const stopped = (operation: string, session: Session) =>
  Effect.gen(function*() {
    const before = yield* text(session, "beats")
    yield* holds(operation, "a process of the command that has run", before.length > 0, before.length)
    yield* stays(
      operation,
      "no process of the command is left",
      Effect.map(text(session, "beats"), (after) => after === before ? "silence" : "it went on writing"),
      (seen) => seen === "silence",
      "400 millis"
    )
  })

export const shell = (subject: SandboxSubject): string | undefined =>
  subject.hasShell === false ? "a backend whose commands really run" : undefined

export const need = <A>(
  pick: (subject: SandboxSubject) => A | undefined,
  what: string
) => ({
  missing: (subject: SandboxSubject) => pick(subject) === undefined ? what : undefined,
  of: (subject: SandboxSubject) => pick(subject)!
})

export const law = (
  name: string,
  check: (subject: SandboxSubject) => Effect.Effect<void, unknown, Scope.Scope>,
  missing?: (subject: SandboxSubject) => string | undefined
): Law<SandboxSubject> => ({
  name,
  missing,
  check: (subject) =>
    Effect.mapError(check(subject), (error) =>
      isSandboxError(error)
        ? new LawBroken({ operation: error.operation, expected: "no failure", got: error.message })
        : error)
})

/** A law about a claim, to be shown only by those who make it. */
export const claimed = <A>(
  name: string,
  claim: keyof Guarantees,
  pick: (host: NonNullable<SandboxSubject["host"]>) => A | undefined,
  what: string,
  check: (session: Session, thing: A) => Effect.Effect<void, unknown, Scope.Scope>
): Law<SandboxSubject> => {
  const thing = need((subject) => subject.host === undefined ? undefined : pick(subject.host), what)
  return law(
    name,
    (subject) => Effect.flatMap(create(subject), (session) => check(session, thing.of(subject))),
    (subject) => subject.guarantees[claim] ? thing.missing(subject) ?? shell(subject) : `the claim "${claim}"`
  )
}
