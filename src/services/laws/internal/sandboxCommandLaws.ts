import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Law } from "../Law.ts"
import { equal, eventually, failure, holds } from "../Law.ts"
import type { SandboxSubject } from "./sandboxSubject.ts"
import { create, heart, law, refused, run, shell, stopped, text } from "./sandboxSubject.ts"

/** @internal */
export const commands: ReadonlyArray<Law<SandboxSubject>> = [
  law(
    "a command line goes through the shell, a program's arguments go to it as they are",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const line = yield* session.exec("printf out; printf err >&2; exit 3")
        yield* equal("exec", [line.exitCode, line.stdout, line.stderr, line.isTimedOut, line.isTruncated], [
          3,
          "out",
          "err",
          false,
          false
        ])
        const program = yield* session.exec(["printf", "%s|", "a b", "$HOME", "", "'"])
        yield* equal("exec", [program.exitCode, program.stdout], [0, "a b|$HOME||'|"])
      }),
    shell
  ),

  law(
    "a signal's exit code is 128 and its number, and a program that is not there ends with 127",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        yield* equal("kill -9", (yield* session.exec("kill -9 $$")).exitCode, 137)
        yield* equal("no-such-program", (yield* session.exec(["no-such-program"])).exitCode, 127)
        yield* equal("no-such-program", (yield* session.exec("no-such-program")).exitCode, 127)
      }),
    shell
  ),

  law("a command that cannot be is ExecFailed", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* refused("exec empty", "ExecFailed", session.exec(""))
      yield* refused("exec NUL", "ExecFailed", session.exec(["echo", "a\0b"]))
      yield* refused("exec a=b", "ExecFailed", session.exec("true", { environment: { "a=b": "c" } }))
      yield* refused("exec timeout -1", "ExecFailed", session.exec("true", { timeout: -1 }))
    }), shell),

  law(
    "a command or variables that are too much for the system are ExecFailed, with advice",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`V${index}`, ""]))
        const large = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`V${index}`, "x".repeat(100_000)]))
        const tries = [
          session.exec(`: ${"x".repeat(7_000_000)}`),
          session.exec(["echo", "x".repeat(7_000_000)]),
          session.exec(["echo", ...Array.from({ length: 400_000 }, () => "x")], { maxOutputBytes: 10 }),
          session.exec("true", { environment: { LONG: "x".repeat(7_000_000) } }),
          session.exec("true", { environment: large }),
          session.exec("true", { environment: many })
        ]
        for (const one of tries) {
          const exit = yield* Effect.exit(one)
          // A backend that takes more runs it.
          if (Exit.isSuccess(exit)) yield* equal("exec of much", exit.value.exitCode, 0)
          else {
            yield* refused("exec of much", "ExecFailed", exit)
            const { message } = yield* failure("exec of much", "an error", exit)
            yield* holds("exec of much", "advice in the message", /stdin|file/.test(message), message.slice(0, 500))
          }
        }
        yield* equal("exec afterwards", yield* run(session, "echo works"), "works\n")
      }),
    shell
  ),

  law("stdin is what was given, or at its end", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* equal("cat", (yield* session.exec("cat", { stdin: "given\n" })).stdout, "given\n")
      yield* equal("wc", (yield* session.exec("wc -c", { stdin: new Uint8Array(300_000) })).stdout.trim(), "300000")
      const nothing = yield* session.exec("cat; echo end", { timeout: "10 seconds" })
      yield* equal("cat", [nothing.stdout, nothing.isTimedOut], ["end\n", false])
    }), shell),

  law("stdin, stdout and stderr can be opened by name", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      const result = yield* session.exec("cat /dev/stdin > /dev/stdout; echo err > /dev/stderr", { stdin: "in" })
      yield* equal("exec", [result.stdout, result.stderr], ["in", "err\n"])
    }), shell),

  law("a command sees the manifest's variables, and its own, which win", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject, { environment: { ONE: "1", BOTH: "manifest" } })
      const { stdout } = yield* session.exec(`printf '%s|' "$ONE" "$BOTH" "$TWO" "$HOME"; command -v cat > /dev/null`, {
        environment: { BOTH: "call", TWO: "it's $x\n" }
      })
      yield* equal("exec", stdout, `1|call|it's $x\n|${session.root}|`)
    }), shell),

  law("a command starts in the workspace, or in a directory of it", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject, { files: { "a/b/file": "x" } })
      yield* equal("pwd", (yield* session.exec("pwd -P")).stdout, `${session.root}\n`)
      yield* equal("pwd", (yield* session.exec("pwd -P", { cwd: "a/b" })).stdout, `${session.root}/a/b\n`)
      yield* refused("exec", "NotFound", session.exec("pwd", { cwd: "missing" }))
      yield* refused("exec", "NotPermitted", session.exec("pwd", { cwd: "a/b/file" }))
    }), shell),

  law("commands and file operations see the same files", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* session.writeFile("a/in.txt", "from outside")
      yield* equal(
        "cat",
        yield* run(session, "cat a/in.txt; mkdir -p b; printf 'from inside' > b/out.txt"),
        "from outside"
      )
      yield* equal("readFile", yield* text(session, "b/out.txt"), "from inside")
    }), shell),

  law(
    "after a timeout the result has the output so far, exit code 124, and no process is left",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const result = yield* session.exec(`${heart} echo before; echo too >&2; sleep 60; echo after`, {
          timeout: "2 seconds"
        })
        yield* equal("exec", [result.exitCode, result.stdout, result.stderr, result.isTimedOut], [
          124,
          "before\n",
          "too\n",
          true
        ])
        yield* stopped("exec", session)
      }),
    shell
  ),

  law(
    "when a command has ended, no process of it is left, and its whole output is there",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const result = yield* session.exec(`${heart} (sleep 60) & echo done`, { timeout: "20 seconds" })
        yield* equal("exec", [result.exitCode, result.stdout, result.isTimedOut], [0, "done\n", false])
        yield* stopped("exec", session)
        for (let turn = 0; turn < 10; turn++) {
          const { stdout } = yield* session.exec("head -c 60000 /dev/zero | tr '\\0' x")
          yield* equal("exec, with output left in the pipe", stdout.length, 60_000)
        }
      }),
    shell
  ),

  law("interrupting a command kills its process tree", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      const fiber = yield* Effect.forkChild(session.exec(`${heart} sleep 60`))
      yield* eventually("exec", "the command runs", session.list(), (list) => list.length > 0)
      yield* Fiber.interrupt(fiber)
      yield* stopped("exec", session)
    }), shell),

  law(
    "of too much output the first and the last part are kept, and a line says how much is missing",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const whole = yield* session.exec("printf 0123456789", { maxOutputBytes: 10 })
        yield* equal("10 of 10", [whole.stdout, whole.isTruncated], ["0123456789", false])
        const cut = yield* session.exec("printf 0123456789abcdefghij; printf ok >&2", { maxOutputBytes: 10 })
        yield* equal("20 of 10", [cut.stdout, cut.stderr, cut.isTruncated], [
          "01234\n[… 10 bytes left out …]\nfghij",
          "ok",
          true
        ])
        const halved = yield* session.exec("printf 'ééééééééé'", { maxOutputBytes: 10 })
        yield* equal("18 of 10", halved.stdout, "éé\n[… 10 bytes left out …]\néé")
        const much = yield* session.exec("yes | head -c 5000000; echo; echo last", { maxOutputBytes: 2000 })
        yield* holds("5 MB of 2000", "ends with last", much.stdout.endsWith("\nlast\n"), much.stdout.slice(-20))
        yield* holds("5 MB of 2000", "at most 2,100 bytes", much.stdout.length <= 2100, much.stdout.length)
      }),
    shell
  ),

  law("output that is no UTF-8 is replaced, not refused", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* equal("exec", (yield* session.exec(`printf 'a\\377b'`)).stdout, "a\uFFFDb")
    }), shell),

  law("commands run at the same time without mixing", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      const results = yield* Effect.forEach(
        Array.from({ length: 8 }, (_, index) => index),
        (index) => session.exec(`sleep 0.1; echo out-${index}; echo err-${index} >&2; exit ${index}`),
        { concurrency: "unbounded" }
      )
      yield* equal(
        "exec",
        results.map(({ exitCode, stderr, stdout }) => `${exitCode} ${stdout}${stderr}`),
        results.map((_, index) => `${index} out-${index}\nerr-${index}\n`)
      )
    }), shell)
]
