import * as Effect from "effect/Effect"
import type { Law } from "../Law.ts"
import { equal, holds, inTime } from "../Law.ts"
import type { SandboxSubject } from "./sandboxSubject.ts"
import { create, law, refused, run, shell, text } from "./sandboxSubject.ts"

const decoder = new TextDecoder()

const outside = ["../outside", "a/../../outside", "/etc/passwd", "/"]

/** @internal */
export const files: ReadonlyArray<Law<SandboxSubject>> = [
  law(
    "a written file is read back byte for byte, and the directories above it are made",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        const every = Uint8Array.from({ length: 256 }, (_, byte) => byte)
        yield* session.writeFile("a/b c/ünï-日本-😀.bin", every)
        yield* equal("readFile", yield* session.readFile("a/b c/ünï-日本-😀.bin"), every)
        yield* session.writeFile("empty", "")
        yield* equal("readFile empty", yield* text(session, "empty"), "")
        const large = "0123456789abcdef".repeat(5 * 65_536)
        yield* session.writeFile("large", large)
        yield* holds("readFile large", "5 MiB as written", (yield* text(session, "large")) === large, "other bytes")
      })
  ),

  law("a write replaces the whole file", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* session.writeFile("file", "a long first content")
      yield* session.writeFile("file", "short")
      yield* equal("readFile", yield* text(session, "file"), "short")
    })),

  law("what is not there is NotFound, and a directory is no file", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject, { files: { "directory/file": "x" } })
      yield* refused("readFile", "NotFound", session.readFile("missing"))
      yield* refused("list", "NotFound", session.list("missing"))
      yield* refused("readFile", "NotPermitted", session.readFile("directory"))
      yield* refused("writeFile", "NotPermitted", session.writeFile("directory", "x"))
      yield* refused("list", "NotPermitted", session.list("directory/file"))
    })),

  law(
    "a file with more than maxBytes is LimitExceeded, one with exactly that many is read",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject, { files: { file: "12345" } })
        yield* equal("readFile 5 of 5", decoder.decode(yield* session.readFile("file", { maxBytes: 5 })), "12345")
        yield* refused("readFile 5 of 4", "LimitExceeded", session.readFile("file", { maxBytes: 4 }))
      })
  ),

  law(
    "a maxBytes that is no number from 0, or that no memory can hold, is NotPermitted",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject, { files: { file: "12345" } })
        for (const maxBytes of [Infinity, Number.NaN, -1, Number.MAX_SAFE_INTEGER, 1024 ** 3 + 1]) {
          yield* refused(`readFile of ${maxBytes}`, "NotPermitted", session.readFile("file", { maxBytes }))
        }
        yield* equal(
          "readFile of 1 GiB",
          decoder.decode(yield* session.readFile("file", { maxBytes: 1024 ** 3 })),
          "12345"
        )
      })
  ),

  law(
    "a name that is not UTF-8 is listed, read, written and removed, and no two names become one",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        // A file system that takes UTF-8 alone has no such names.
        const made = yield* session.exec(
          `mkdir d && printf one > "$(printf 'd/\\377')" && printf two > "$(printf 'd/\\376\\303\\251')" && ` +
            `mkdir "$(printf 'd/\\200')" && printf three > "$(printf 'd/\\200/x')"`
        )
        if (made.exitCode !== 0) return
        yield* run(
          session,
          `printf four > 'd/\\xff'; printf five > 'd/\\x5cxff'; printf six > "$(printf 'd/\\357\\277\\275')"`
        )
        const paths = (yield* session.list("d", { isRecursive: true })).map((entry) => entry.path)
        yield* equal("list", paths, [
          "d/\\x5cx5cxff",
          "d/\\x5cxff",
          "d/\\x80",
          "d/\\x80/x",
          "d/\\xfeé",
          "d/\\xff",
          "d/\uFFFD"
        ])
        const files = paths.filter((path) => path !== "d/\\x80")
        yield* equal("readFile", yield* Effect.forEach(files, (path) => text(session, path)), [
          ...["five", "four", "three", "two", "one", "six"]
        ])
        yield* session.writeFile("d/\\xff", "changed")
        yield* equal("exec", yield* run(session, `cat "$(printf 'd/\\377')"`), "changed")
        for (const path of files) yield* session.remove(path)
        yield* session.remove("d/\\x80", { isRecursive: true })
        yield* equal("list", yield* session.list("d"), [])
      }),
    shell
  ),

  law("a command starts in a directory whose name is not UTF-8", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      const made = yield* session.exec(`d="$(printf '\\377')"; mkdir "$d" && printf x > "$d/file"`)
      if (made.exitCode !== 0) return
      yield* equal("exec", (yield* session.exec("cat file", { cwd: "\\xff" })).stdout, "x")
    }), shell),

  law(
    "a path is the same however its bytes are written, and no written byte leads out",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        yield* session.writeFile("é", "x")
        yield* session.writeFile("a\\x41", "y")
        yield* session.writeFile("\\x2e\\x2e/z", "z")
        yield* equal("readFile", yield* text(session, "\\xc3\\xa9"), "x")
        yield* equal("readFile", yield* text(session, "a\\x5cx41"), "y")
        yield* equal("list", (yield* session.list("", { isRecursive: true })).map(({ path }) => path), [
          ...["\\x5cx2e\\x5cx2e", "\\x5cx2e\\x5cx2e/z", "a\\x5cx41", "é"]
        ])
      }),
    shell
  ),

  law("no path text leads out of the workspace", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      for (const path of outside) {
        yield* refused(`readFile ${path}`, "OutsideWorkspace", session.readFile(path))
        yield* refused(`writeFile ${path}`, "OutsideWorkspace", session.writeFile(path, "x"))
        yield* refused(`list ${path}`, "OutsideWorkspace", session.list(path))
        yield* refused(`remove ${path}`, "OutsideWorkspace", session.remove(path, { isRecursive: true }))
        yield* refused(`exec in ${path}`, "OutsideWorkspace", session.exec("true", { cwd: path }))
      }
      yield* refused("readFile with NUL", "NotPermitted", session.readFile("a\0b"))
    })),

  law("paths are relative to the workspace, or absolute below root", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* session.writeFile("a/../b/./c", "x")
      yield* equal("readFile b/c", yield* text(session, "b/c"), "x")
      yield* equal("readFile root/b/c", yield* text(session, `${session.root}/b/c`), "x")
      yield* refused(
        "readFile root-other",
        "OutsideWorkspace",
        session.readFile(`${session.root}-other/b`)
      )
    })),

  law(
    "a listing is in order of path, says kinds and sizes, and goes deeper only when asked",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject, { files: { "b/y": "12", "b/x/z": "123", a: "1", "c-d": "" } })
        yield* equal("list", yield* session.list(), [
          { path: "a", kind: "file", size: 1 },
          { path: "b", kind: "directory", size: 0 },
          { path: "c-d", kind: "file", size: 0 }
        ])
        yield* equal("list recursively", yield* session.list("b", { isRecursive: true }), [
          { path: "b/x", kind: "directory", size: 0 },
          { path: "b/x/z", kind: "file", size: 3 },
          { path: "b/y", kind: "file", size: 2 }
        ])
        yield* equal("list of 3", (yield* session.list("", { maxEntries: 3 })).length, 3)
        yield* refused("list of 2", "LimitExceeded", session.list("", { maxEntries: 2 }))
      })
  ),

  law("remove takes a file, a directory only when asked, and nothing is no error", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject, { files: { file: "x", "directory/a/b": "x" } })
      yield* session.remove("file")
      yield* refused("readFile", "NotFound", session.readFile("file"))
      yield* session.remove("file")
      yield* session.remove("no/such/thing")
      yield* refused("remove directory", "NotPermitted", session.remove("directory"))
      yield* equal("readFile directory/a/b", yield* text(session, "directory/a/b"), "x")
      yield* session.remove("directory", { isRecursive: true })
      yield* refused("remove root", "NotPermitted", session.remove("", { isRecursive: true }))
      yield* equal("list", yield* session.list(), [])
    })),

  law(
    "a link that leads out is OutsideWorkspace for every operation but its removal",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject)
        yield* run(session, "ln -s /etc absolute; ln -s .. up; ln -s /etc/passwd file; mkdir d; ln -s ../../up d/deep")
        for (const path of ["absolute/passwd", "up/x", "file", "d/deep/x"]) {
          yield* refused(`readFile ${path}`, "OutsideWorkspace", session.readFile(path))
          yield* refused(`writeFile ${path}`, "OutsideWorkspace", session.writeFile(path, "x"))
        }
        yield* refused("list absolute", "OutsideWorkspace", session.list("absolute"))
        yield* refused("remove absolute/x", "OutsideWorkspace", session.remove("absolute/x"))
        yield* refused("exec in absolute", "OutsideWorkspace", session.exec("true", { cwd: "absolute" }))
        yield* session.remove("absolute")
        yield* equal("exists", yield* run(session, "[ -e /etc ] && [ ! -L absolute ] && echo yes"), "yes\n")
      }),
    shell
  ),

  law(
    "a link that stays inside is followed, listed as a link, and removed without what it leads to",
    (subject) =>
      Effect.gen(function*() {
        const session = yield* create(subject, { files: { "real/file": "x" } })
        yield* run(session, `ln -s real near; ln -s "${session.root}/real/file" far; ln -s a b; ln -s b a`)
        yield* equal("readFile near/file", yield* text(session, "near/file"), "x")
        yield* equal("readFile far", yield* text(session, "far"), "x")
        yield* session.writeFile("far", "y")
        yield* equal("readFile real/file", yield* text(session, "real/file"), "y")
        yield* refused("readFile of a circle", "NotPermitted", session.readFile("a"))
        yield* equal(
          "list",
          (yield* session.list("", { isRecursive: true })).map(({ kind, path }) => `${path} ${kind}`),
          [
            "a link",
            "b link",
            "far link",
            "near link",
            "real directory",
            "real/file file"
          ]
        )
        yield* session.remove("near", { isRecursive: true })
        yield* equal("readFile real/file", yield* text(session, "real/file"), "y")
      }),
    shell
  ),

  law("a fifo neither blocks nor is replaced", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* run(session, "mkfifo pipe")
      yield* refused("readFile", "NotPermitted", inTime("readFile", session.readFile("pipe")))
      yield* refused("writeFile", "NotPermitted", inTime("writeFile", session.writeFile("pipe", "x")))
      yield* equal("list", yield* session.list(), [{ path: "pipe", kind: "other", size: 0 }])
      yield* session.remove("pipe")
      yield* equal("list", yield* session.list(), [])
    }), shell),

  law("a file that is replaced keeps its mode", (subject) =>
    Effect.gen(function*() {
      const session = yield* create(subject)
      yield* run(session, "echo 'exit 1' > run.sh; chmod 755 run.sh")
      yield* session.writeFile("run.sh", "#!/bin/sh\necho ran\n")
      yield* equal("exec ./run.sh", yield* run(session, "./run.sh"), "ran\n")
    }), shell)
]
