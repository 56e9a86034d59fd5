import { assert, describe, it } from "@effect/vitest"
import { SandboxVirtual as FromRoot } from "agent-layers"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SandboxVirtual from "agent-layers/layers/sandbox/SandboxVirtual"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import * as Sandbox from "agent-layers/services/Sandbox"
import * as SandboxError from "agent-layers/services/SandboxError"
import { SandboxVirtual as FromTesting } from "agent-layers/testing"
import { Effect, Exit, Fiber, Layer, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { describeLaws } from "../../support/laws.ts"

const host = {
  "/host/source/one.txt": "one",
  "/host/source/run.sh": "#!/bin/sh\n",
  "/host/source/sub/two.txt": "two",
  "/host/source/sub/key.pem": "secret",
  "/host/source/.git/config": "x"
}

const virtual = SandboxVirtual.makeUnsafe({
  host,
  // As long as a write to a slow disk, so that a creation can be interrupted.
  before: ({ name }) => name === "writeFile" ? Effect.sleep("1 millis") : Effect.void
})

const subject: SandboxLaws.SandboxSubject = {
  open: Effect.succeed(virtual.sandbox),
  guarantees: virtual.sandbox.guarantees,
  hasShell: false,
  workspaces: Effect.map(virtual.workspaces, ({ length }) => length),
  lose: ({ id }) => virtual.lose(id),
  directory: Effect.succeed("/host/source")
}

const missing = SandboxLaws.all.map((law) => [law.name, law.missing?.(subject)] as const)

describeLaws("SandboxVirtual", SandboxLaws.all, subject, {
  notShown: missing.filter(([, what]) => what !== undefined).map(([name]) => name)
})

const reasonOf = <A, R>(effect: Effect.Effect<A, SandboxError.SandboxError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const session = (options?: SandboxVirtual.Options, manifest?: Sandbox.Manifest) =>
  SandboxVirtual.makeUnsafe(options).sandbox.create(manifest)

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe("SandboxVirtual", () => {
  it("leaves out of the laws only those of commands that really run, and claims that it does not make", () => {
    for (const [name, what] of missing) {
      if (what === undefined) continue
      assert.match(what, /^(a backend whose commands really run|the claim "\w+")$/, name)
    }
    assert.isAtLeast(missing.filter(([, what]) => what === undefined).length, 15)
  })

  it.effect("left nothing behind after its laws", () =>
    Effect.map(virtual.workspaces, (left) => assert.deepStrictEqual(left, [])))

  it.effect("takes names that are not UTF-8 as the real backends do: one file, however its bytes are written", () =>
    Effect.gen(function*() {
      const { list, readFile, remove, writeFile } = yield* session({}, {
        files: { "\\xff": "1", "\\x5cxff": "2", é: "3" }
      })
      yield* writeFile("\\xc3\\xa9", "4")
      yield* writeFile("a\\x41", "5")
      assert.deepStrictEqual((yield* list()).map((entry) => entry.path), ["\\x5cxff", "\\xff", "a\\x5cx41", "é"])
      assert.strictEqual(Buffer.from(yield* readFile("é")).toString(), "4")
      assert.strictEqual(Buffer.from(yield* readFile("a\\x5cx41")).toString(), "5")
      yield* remove("\\xff")
      assert.strictEqual(Buffer.from(yield* readFile("\\x5cxff")).toString(), "2")
    }))

  it("is one of the doubles", () => {
    assert.strictEqual(FromRoot.layer, SandboxVirtual.layer)
    assert.strictEqual(FromTesting.layer, SandboxVirtual.layer)
  })

  it.effect("does what its table says, and knows no other program", () =>
    Effect.gen(function*() {
      const { exec, readFile } = yield* session({
        exec: {
          "npm test": { stdout: "ok\n" },
          "git status": ({ cwd }) => ({ stdout: cwd, exitCode: 2 }),
          build: [{ stderr: "warning\n", exitCode: 3 }, { writes: { "dist/a.js": "a" } }],
          bytes: { stdout: Uint8Array.of(97, 255) }
        }
      }, { files: { "sub/x": "" } })
      assert.deepInclude(yield* exec("npm test"), { exitCode: 0, stdout: "ok\n", stderr: "", isTimedOut: false })
      assert.strictEqual((yield* exec(["npm", "test"])).stdout, "ok\n")
      assert.deepInclude(yield* exec("git status", { cwd: "sub" }), { exitCode: 2, stdout: "sub" })
      assert.deepInclude(yield* exec("build"), { exitCode: 3, stderr: "warning\n" })
      assert.strictEqual(text(yield* readFile("dist/a.js")), "a")
      assert.strictEqual((yield* exec("bytes")).stdout, "a\uFFFD")
      assert.deepInclude(yield* exec("npm  test"), {
        exitCode: 127,
        stderr: "sh: npm  test: not found in the script of SandboxVirtual\n"
      })
      for (const name of ["toString", "__proto__"]) assert.strictEqual((yield* exec(name)).exitCode, 127, name)
    }))

  it.effect("asks a function, which sees the command and the files, and answers at once, later or with a failure", () =>
    Effect.gen(function*() {
      const { exec, readFile } = yield* session({
        exec: ({ command, environment, files, line, stdin }) => {
          if (line === "sort numbers") {
            return { stdout: files.read("numbers").split("\n").toSorted().join("\n") }
          }
          if (line === "tee out") {
            files.write("out", stdin ?? "nothing")
            return {}
          }
          if (command[0] === "printenv") return Effect.succeed({ stdout: environment[command[1]!] ?? "" })
          if (line === "lost") return Effect.fail(new SandboxError.ExecFailed({ description: "contact was lost" }))
          if (line === "cat none") return { stdout: files.read("none") }
          if (line === "throws") throw new Error("a mistake in the script")
          return undefined
        }
      }, { files: { numbers: "2\n1" }, environment: { A: "manifest", B: "manifest" } })
      assert.strictEqual((yield* exec(["sort", "numbers"])).stdout, "1\n2")
      yield* exec("tee out", { stdin: "given" })
      assert.strictEqual(text(yield* readFile("out")), "given")
      yield* exec("tee out")
      assert.strictEqual(text(yield* readFile("out")), "nothing")
      assert.strictEqual((yield* exec(["printenv", "A"], { environment: { A: "call" } })).stdout, "call")
      assert.strictEqual((yield* exec(["printenv", "B"])).stdout, "manifest")
      assert.deepInclude(yield* reasonOf(exec("lost")), { _tag: "ExecFailed", message: "contact was lost" })
      assert.strictEqual((yield* reasonOf(exec("cat none")))._tag, "NotFound")
      assert.include((yield* reasonOf(exec("throws"))).message, "a mistake in the script")
      assert.strictEqual((yield* exec("other")).exitCode, 127)
      assert.strictEqual((yield* reasonOf(exec("")))._tag, "ExecFailed")
      assert.strictEqual((yield* reasonOf(exec("tee out", { cwd: "none" })))._tag, "NotFound")
      assert.strictEqual((yield* reasonOf(exec("tee out", { cwd: "numbers" })))._tag, "NotPermitted")
      assert.strictEqual((yield* reasonOf(exec("tee out", { cwd: "../x" })))._tag, "OutsideWorkspace")
    }))

  it.effect("takes as long as its script says, by the clock of the program, and stops at the timeout", () =>
    Effect.gen(function*() {
      const { exec, list } = yield* session({
        exec: {
          slow: [{ stdout: "before" }, { after: "50 seconds", stdout: " after", writes: { done: "" } }],
          endless: [{ stderr: "hm" }, { after: "Infinity" }, { writes: { done: "" } }]
        }
      })
      const finished = yield* Effect.forkChild(exec("slow"))
      const stopped = yield* Effect.forkChild(exec("slow", { timeout: "49 seconds" }))
      const endless = yield* Effect.forkChild(exec("endless", { timeout: "1 hour" }))
      yield* TestClock.adjust("49 seconds")
      assert.deepStrictEqual(yield* Fiber.join(stopped), {
        exitCode: 124,
        stdout: "before",
        stderr: "",
        isTimedOut: true,
        isTruncated: false,
        durationMillis: 49_000
      })
      assert.deepStrictEqual(yield* list(), [])
      yield* TestClock.adjust("1 second")
      assert.deepInclude(yield* Fiber.join(finished), { exitCode: 0, stdout: "before after", durationMillis: 50_000 })
      assert.deepStrictEqual((yield* list()).map(({ path }) => path), ["done"])
      yield* TestClock.adjust("1 hour")
      assert.deepInclude(yield* Fiber.join(endless), { exitCode: 124, stderr: "hm", isTimedOut: true })
    }))

  it.effect("cuts long output as every sandbox does", () =>
    Effect.gen(function*() {
      const { exec } = yield* session({ exec: { long: { stdout: "0123456789abcdefghij" } } })
      const { isTruncated, stdout } = yield* exec("long", { maxOutputBytes: 10 })
      assert.deepStrictEqual([stdout, isTruncated], ["01234\n[… 10 bytes left out …]\nfghij", true])
    }))

  it.effect("fails commands that run when the scope closes, and stops those that are interrupted", () =>
    Effect.gen(function*() {
      const machine = SandboxVirtual.makeUnsafe({
        exec: { long: [{ after: "1 minute" }, { writes: { done: "" } }] }
      })
      const scope = yield* Scope.make()
      const one = yield* Scope.provide(machine.sandbox.create({}, { isKept: true }), scope)
      const interrupted = yield* Effect.forkChild(one.exec("long"))
      const closed = yield* Effect.forkChild(one.exec("long"))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(interrupted)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* reasonOf(Fiber.join(closed)))._tag, "Closed")
      yield* TestClock.adjust("2 minutes")
      const again = yield* machine.sandbox.resume(one.state)
      assert.strictEqual(again._tag, "Resumed")
      if (again._tag === "Resumed") assert.deepStrictEqual(yield* again.session.list(), [])
    }))

  it.effect("follows links that stay inside, and refuses those that lead out", () =>
    Effect.gen(function*() {
      const { exec, list, readFile, remove, root, writeFile } = yield* session({
        exec: ({ command, files }) => {
          files.link(command[1]!, command[2]!)
          return {}
        }
      }, { files: { "real/file": "x", "d/e/f": "" } })
      const link = (path: string, target: string) => exec(["ln", path, target])
      yield* link("absolute", "/etc")
      yield* link("up", "..")
      yield* link("file", "/etc/passwd")
      yield* link("d/deep", "../../up")
      yield* link("sibling", `${root}-other/x`)
      for (const path of ["absolute/passwd", "up/x", "file", "d/deep/x", "sibling", "d/../up/a"]) {
        assert.strictEqual((yield* reasonOf(readFile(path)))._tag, "OutsideWorkspace", path)
        assert.strictEqual((yield* reasonOf(writeFile(path, "")))._tag, "OutsideWorkspace", path)
      }
      assert.strictEqual((yield* reasonOf(list("absolute")))._tag, "OutsideWorkspace")
      assert.strictEqual((yield* reasonOf(remove("absolute/x")))._tag, "OutsideWorkspace")
      assert.strictEqual((yield* reasonOf(exec("x", { cwd: "up" })))._tag, "OutsideWorkspace")
      for (const path of ["absolute", "up", "file", "d/deep", "sibling"]) yield* remove(path)

      yield* link("near", "real")
      yield* link("far", `${root}/real/file`)
      yield* link("back", "d/e/../../real/file")
      yield* link("a", "b")
      yield* link("b", "a")
      yield* link("dangling", "real/new")
      assert.strictEqual(text(yield* readFile("near/file")), "x")
      yield* writeFile("far", "y")
      assert.strictEqual(text(yield* readFile("back")), "y")
      yield* writeFile("dangling", "made")
      assert.strictEqual(text(yield* readFile("real/new")), "made")
      assert.strictEqual((yield* reasonOf(readFile("a")))._tag, "NotPermitted")
      assert.deepStrictEqual((yield* list("near")).map(({ path }) => path), ["real/file", "real/new"])
      assert.deepStrictEqual(
        (yield* list()).map(({ kind, path }) => `${path} ${kind}`),
        ["a link", "b link", "back link", "d directory", "dangling link", "far link", "near link", "real directory"]
      )
      yield* remove("near", { isRecursive: true })
      assert.strictEqual(text(yield* readFile("real/file")), "y")
      assert.strictEqual((yield* reasonOf(link("real", "d")))._tag, "NotPermitted")
    }))

  it.effect("changes nothing where a write fails, nor through bytes that a caller holds", () =>
    Effect.gen(function*() {
      const { list, readFile, writeFile } = yield* session({}, { files: { file: "x" } })
      assert.strictEqual((yield* reasonOf(writeFile("file/a/b", "")))._tag, "NotPermitted")
      assert.strictEqual(
        (yield* reasonOf(writeFile(Array.from({ length: 300 }, () => "d").join("/"), "")))._tag,
        "LimitExceeded"
      )
      assert.deepStrictEqual((yield* list()).map(({ path }) => path), ["file"])
      const bytes = Uint8Array.of(1)
      yield* writeFile("bytes", bytes)
      bytes[0] = 2
      const read = yield* readFile("bytes")
      read[0] = 3
      assert.deepStrictEqual(yield* readFile("bytes"), Uint8Array.of(1))
    }))

  it.effect("fails where its test says so, and where a workspace was removed by somebody else", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const full = (path: string) =>
        new SandboxError.FileSystemFailed({ path, description: "No space is left", isTransient: true })
      const machine = SandboxVirtual.makeUnsafe({
        before: ({ name, path }) => {
          seen.push(`${name} ${path}`)
          return path === "full" ? Effect.fail(full(path)) : Effect.void
        }
      })
      const { exec, list, readFile, remove, state, writeFile } = yield* machine.sandbox.create({ files: { a: "" } })
      const error = yield* Effect.flip(writeFile("full", ""))
      assert.deepInclude(error, { _tag: "SandboxError", backend: "virtual", operation: "writeFile", isRetryable: true })
      assert.strictEqual((yield* reasonOf(machine.sandbox.create({ files: { full: "" } })))._tag, "FileSystemFailed")
      assert.deepStrictEqual(yield* machine.workspaces, [state.id])
      yield* machine.lose(state.id)
      const operations = [exec("x"), list(), readFile("a"), remove("a"), writeFile("b", "")]
      for (const operation of operations) {
        assert.strictEqual((yield* reasonOf<unknown, never>(operation))._tag, "FileSystemFailed")
      }
      assert.deepStrictEqual(seen.slice(0, 5), [
        "create undefined",
        "writeFile a",
        "writeFile full",
        "create undefined",
        "writeFile full"
      ])
    }))

  it.effect("says what was run, and what nobody had expected", () =>
    Effect.gen(function*() {
      const { state } = yield* Effect.scoped(Sandbox.Sandbox.use((sandbox) =>
        Effect.tap(sandbox.create(), ({ exec }) => Effect.andThen(exec("known", { stdin: "in" }), exec(["other", "x"])))
      ))
      assert.deepStrictEqual(yield* SandboxVirtual.commands, [
        {
          command: "known",
          line: "known",
          cwd: "",
          environment: {},
          stdin: "in",
          workspace: state.id,
          isScripted: true
        },
        {
          command: ["other", "x"],
          line: "other x",
          cwd: "",
          environment: {},
          stdin: undefined,
          workspace: state.id,
          isScripted: false
        }
      ])
    }).pipe(Effect.provide(SandboxVirtual.layer({ exec: { known: {} } }))))

  it.effect("pretends what a test wants it to, and comes back from a state that went through JSON", () =>
    Effect.gen(function*() {
      const { sandbox } = SandboxVirtual.makeUnsafe({ guarantees: { network: true }, root: "/box" })
      assert.deepStrictEqual([sandbox.guarantees.network, sandbox.guarantees.fileSystem], [true, false])
      const { root, state } = yield* Effect.scoped(sandbox.create({ files: { a: "1" } }, { isKept: true }))
      assert.strictEqual(root, "/box")
      const Json = Schema.fromJsonString(Sandbox.SandboxState)
      const again = yield* sandbox.resume(
        yield* Schema.decodeEffect(Json)(yield* Schema.encodeEffect(Json)(state)),
        undefined,
        { isKept: false }
      )
      assert.strictEqual(again._tag, "Resumed")
      if (again._tag === "Resumed") assert.strictEqual(text(yield* again.session.readFile("/box/a")), "1")
    }))

  it.effect("stands in for a real sandbox under an agent's tools", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "coder", toolkit: ToolsSandbox.toolkit })
      const result = yield* Runner.run(agent, "Run the tests.")
      assert.strictEqual(result.finalOutput, "One failed.")
      const [, second] = yield* ModelScripted.requests
      assert.match(JSON.stringify(second!.items), /exit code 1 after 3\.0 s/)
      assert.deepStrictEqual((yield* SandboxVirtual.commands).map(({ line }) => line), ["npm test"])
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          Layer.merge(
            ToolsSandbox.layer.pipe(Layer.provide(Sandbox.layerSession())),
            ModelScripted.layer([
              ModelScripted.toolCall("shell", { command: "npm test" }),
              ModelScripted.text("One failed.")
            ])
          ),
          SandboxVirtual.layer({ exec: { "npm test": { after: "3 seconds", stdout: "1 failed", exitCode: 1 } } })
        )
      ),
      (run) =>
        Effect.flatMap(
          Effect.forkChild(run),
          (fiber) => Effect.andThen(TestClock.adjust("3 seconds"), Fiber.join(fiber))
        )
    ))
})
