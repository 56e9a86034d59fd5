import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Context, Effect, Exit, Layer, Stream } from "effect"
import { Tool } from "effect/ai"

const files = {
  "notes.txt": Array.from({ length: 5 }, (_, index) => `line ${index + 1}`).join("\n") + "\n",
  "src/a.ts": "export const a = 1\n",
  empty: "",
  "picture.png": Uint8Array.of(137, 80, 78, 71, 0, 1),
  "latin1.txt": Uint8Array.of(99, 97, 102, 233)
}

const session = Sandbox.layerSession({ files }).pipe(Layer.provide(SandboxUnconfined.layer()))
const layer = Layer.provideMerge(ToolsSandbox.layer, session)

type Tools = typeof ToolsSandbox.toolkit.tools

const call = <Name extends keyof Tools>(name: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
  Effect.gen(function*() {
    const toolkit = yield* ToolsSandbox.toolkit
    const [last] = yield* Effect.flatMap(
      toolkit.handle(name, parameters),
      (results) => Stream.runCollect(Stream.takeRight(results, 1))
    )
    return last!
  })

const answer = <Name extends keyof Tools>(name: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
  Effect.map(call(name, parameters), ({ isFailure, result }) => {
    assert.isFalse(isFailure, String(result))
    return result as string
  })

const failure = <Name extends keyof Tools>(name: Name, parameters: Tool.ParametersEncoded<Tools[Name]>) =>
  Effect.map(call(name, parameters), ({ encodedResult, isFailure }) => {
    assert.isTrue(isFailure)
    return encodedResult as { readonly _tag: string; readonly reason: string; readonly message: string }
  })

describe("ToolsSandbox", () => {
  it.layer(layer, { excludeTestServices: true, timeout: "30 seconds" })("shell", (it) => {
    it.effect("gives exit code, stdout and stderr", () =>
      Effect.gen(function*() {
        const text = yield* answer("shell", { command: "echo out; echo err >&2; exit 3" })
        assert.match(text, /^exit code 3 after \d+\.\d s\n\[stdout\]\nout\n\[stderr\]\nerr$/)
        assert.match(yield* answer("shell", { command: "true" }), /^exit code 0 after \d+\.\d s$/)
        assert.include(yield* answer("shell", { command: "ls", directory: "src" }), "a.ts")
      }))

    it.effect("says that the time was up, with the output so far", () =>
      Effect.gen(function*() {
        const text = yield* answer("shell", { command: "echo before; sleep 60", timeout_seconds: 1 })
        assert.match(text, /^killed: its time was up after \d+\.\d s\n\[stdout\]\nbefore$/)
      }))

    it.effect("leaves out the middle of long output, and says so", () =>
      Effect.gen(function*() {
        const text = yield* answer("shell", { command: "yes | head -n 100000; echo end" }).pipe(
          Effect.provideService(ToolsSandbox.MaxOutputBytes, 1_000)
        )
        assert.match(text, /\n\[… 199004 bytes left out …\]\n/)
        assert.isTrue(text.endsWith("\nend"))
        assert.isBelow(text.length, 1_200)
        const usual = yield* answer("shell", { command: "yes | head -n 100000" })
        assert.isBelow(usual.length, 33_000)
      }))

    it.effect("tells the model what it can mend", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* failure("shell", { command: "ls", directory: "../.." }), {
          _tag: "SandboxToolFailure",
          reason: "OutsideWorkspace",
          message: `"../.." leads out of the workspace. Use a path relative to the workspace, without links out of it`
        })
        assert.strictEqual((yield* failure("shell", { command: "ls", directory: "none" })).reason, "NotFound")
        assert.strictEqual((yield* failure("shell", { command: "" })).reason, "ExecFailed")
      }))
  })

  it.layer(layer, { excludeTestServices: true })("read_file", (it) => {
    it.effect("gives the text as it is, or the lines that were asked for and where to go on", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* answer("read_file", { path: "notes.txt" }), files["notes.txt"].trimEnd())
        assert.strictEqual(
          yield* answer("read_file", { path: "notes.txt", start_line: 2, max_lines: 2 }),
          "line 2\nline 3\n[lines 2 to 3 of 5; read on with start_line 4]"
        )
        assert.strictEqual(
          yield* answer("read_file", { path: "notes.txt", start_line: 5 }),
          "line 5\n[lines 5 to 5 of 5]"
        )
        assert.strictEqual(yield* answer("read_file", { path: "empty" }), "[the file is empty]")
        const { root } = yield* Sandbox.SandboxSession
        assert.strictEqual(yield* answer("read_file", { path: `${root}/src/a.ts` }), "export const a = 1")
      }))

    it.effect("reads a file in parts, of which none is missing", () =>
      Effect.gen(function*() {
        const lines = Array.from({ length: 300 }, (_, index) => `${index} ${"ü".repeat(index % 40)}`)
        yield* answer("write_file", { path: "long.txt", content: lines.join("\n") })
        const read: Array<string> = []
        for (let start = 1; start <= lines.length;) {
          const text = yield* answer("read_file", { path: "long.txt", start_line: start })
          const [, content, next] = /^([^]*?)(?:\n\[lines.*?(?:start_line (\d+))?\])?$/.exec(text)!
          assert.isAtMost(Buffer.byteLength(content!), 500)
          read.push(...content!.split("\n"))
          start = next === undefined ? lines.length + 1 : Number(next)
        }
        assert.deepStrictEqual(read, lines)
      }).pipe(Effect.provideService(ToolsSandbox.MaxOutputBytes, 500)))

    it.effect("cuts a line that is longer than an answer may be", () =>
      Effect.gen(function*() {
        yield* answer("write_file", { path: "line.txt", content: `${"ü".repeat(1_000)}\nsecond` })
        const text = yield* answer("read_file", { path: "line.txt" })
        assert.match(text, /^ü+\n\[lines 1 to 1 of 2; line 1 is cut.*; read on with start_line 2\]$/)
        assert.isBelow(Buffer.byteLength(text), 300)
      }).pipe(Effect.provideService(ToolsSandbox.MaxOutputBytes, 100)))

    it.effect("tells the model what it can mend", () =>
      Effect.gen(function*() {
        const reason = (parameters: Tool.ParametersEncoded<Tools["read_file"]>) =>
          Effect.map(failure("read_file", parameters), (failed) => failed.reason)
        assert.strictEqual(yield* reason({ path: "none" }), "NotFound")
        assert.strictEqual(yield* reason({ path: "src" }), "NotPermitted")
        assert.strictEqual(yield* reason({ path: "/etc/passwd" }), "OutsideWorkspace")
        assert.strictEqual(yield* reason({ path: "picture.png" }), "NotText")
        assert.strictEqual(yield* reason({ path: "latin1.txt" }), "NotText")
        assert.deepInclude(yield* failure("read_file", { path: "notes.txt", start_line: 6 }), {
          reason: "NoSuchLine",
          message: `"notes.txt" has 5 lines`
        })
      }))
  })

  it.layer(layer, { excludeTestServices: true })("write_file and list_files", (it) => {
    it.effect("write, and list what is there", () =>
      Effect.gen(function*() {
        assert.strictEqual(
          yield* answer("write_file", { path: "new/file.txt", content: "é" }),
          "Wrote 2 bytes to new/file.txt"
        )
        yield* answer("shell", { command: "ln -s new/file.txt link; mkfifo pipe; mkdir hollow" })
        assert.strictEqual(
          yield* answer("list_files", {}),
          [
            ...["empty 0", "hollow/", "latin1.txt 4", "link@", "new/", "notes.txt 35", "picture.png 6"],
            ...["pipe (neither file, directory nor link)", "src/"]
          ].join("\n")
        )
        assert.strictEqual(yield* answer("list_files", { path: "src" }), "src/a.ts 19")
        assert.strictEqual(yield* answer("list_files", { path: "hollow" }), "[the directory is empty]")
        assert.include(yield* answer("list_files", { recursive: true }), "new/\nnew/file.txt 2\n")
        assert.strictEqual(
          yield* answer("list_files", {}).pipe(Effect.provideService(ToolsSandbox.MaxOutputBytes, 20)),
          "empty 0\nhollow/\n[… 7 more entries left out: list a directory of it, or not recursively …]"
        )
        assert.strictEqual((yield* failure("write_file", { path: "src", content: "" })).reason, "NotPermitted")
        assert.strictEqual((yield* failure("list_files", { path: "notes.txt" })).reason, "NotPermitted")
      }))
  })

  it.live("ends the run where the session is closed: that is nothing a model can mend", () =>
    Effect.gen(function*() {
      const closed = yield* Effect.scoped(
        Effect.flatMap(SandboxUnconfined.make(), (sandbox) => sandbox.create())
      )
      const exit = yield* call("list_files", {}).pipe(
        Effect.provide(ToolsSandbox.layer.pipe(Layer.provide(Layer.succeed(Sandbox.SandboxSession, closed)))),
        Effect.exit
      )
      assert.isTrue(Exit.hasDies(exit))
    }))

  it("has a toolkit that only reads", () => {
    const names = (kit: { readonly tools: Record<string, Tool.Any> }, annotation: typeof Tool.Readonly) =>
      Object.values(kit.tools).filter((tool) => Context.get(tool.annotations, annotation)).map((tool) => tool.name)
    assert.deepStrictEqual(Object.keys(ToolsSandbox.toolkitReadOnly.tools), ["read_file", "list_files"])
    assert.deepStrictEqual(names(ToolsSandbox.toolkitReadOnly, Tool.Readonly), ["read_file", "list_files"])
    assert.deepStrictEqual(names(ToolsSandbox.toolkit, Tool.Destructive), ["shell", "write_file"])
  })

  it.live("takes null for what a model leaves out", () =>
    Effect.gen(function*() {
      assert.match(
        yield* answer("shell", { command: "ls empty", directory: null, timeout_seconds: null }),
        /^exit code 0/
      )
      assert.include(yield* answer("read_file", { path: "notes.txt", start_line: null, max_lines: null }), "line 5")
      assert.include(yield* answer("list_files", { path: null, recursive: null }), "notes.txt")
    }).pipe(Effect.provide(layer)))

  it("describes every tool and every parameter", () => {
    for (const tool of Object.values(ToolsSandbox.toolkit.tools)) {
      const schema = Tool.getJsonSchema(tool) as {
        readonly properties: Record<string, { readonly description: string }>
      }
      assert.isAbove(Tool.getDescription(tool)!.length, 40)
      for (const [name, { description }] of Object.entries(schema.properties)) assert.isNotEmpty(description, name)
    }
  })

  it.live("serves an agent: what it did wrong comes back to it, and the run goes on", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "reader", toolkit: ToolsSandbox.toolkit })
      const result = yield* Runner.run(agent, "What is in the notes?")
      assert.strictEqual(result.finalOutput, "Five lines.")
      const outputs = result.newItems.filter((item) => item.type === "function_call_output")
      assert.deepStrictEqual(outputs.map(({ output }) => String(output).replace(/after .* s/, "after a while")), [
        `Error: {"_tag":"SandboxToolFailure","reason":"NotFound","message":"There is no \\"note.txt\\" in the workspace"}`,
        "exit code 0 after a while\n[stdout]\n5 notes.txt"
      ])
    }).pipe(Effect.provide([
      layer,
      ModelScripted.layer([
        ModelScripted.toolCall("read_file", { path: "note.txt" }),
        ModelScripted.toolCall("shell", { command: "wc -l notes.txt" }),
        ModelScripted.text("Five lines.")
      ])
    ])))

  it.live("serves an agent that only reads, which needs no other handlers", () =>
    Effect.gen(function*() {
      const agent = Agent.make({ name: "reader", toolkit: ToolsSandbox.toolkitReadOnly })
      const result = yield* Runner.run(agent, "What is there?")
      assert.strictEqual(result.finalOutput, "A file.")
    }).pipe(Effect.provide([
      ToolsSandbox.layerReadOnly.pipe(Layer.provide(session)),
      ModelScripted.layer([
        ModelScripted.toolCall("list_files", { path: "src" }),
        ModelScripted.text("A file.")
      ])
    ])))
})
