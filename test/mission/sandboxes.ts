/** The mission, rows on sandboxes: each backend, and one of one's own. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, ModelScripted, Runner, Sandbox, SandboxError, SandboxVirtual } from "agent-layers"
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import { Effect, Layer, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { inspect } from "node:util"
import { requires } from "../support/requires.ts"
import { temporaryFolder } from "../support/session/subjects.ts"
import { outputs } from "./support.ts"

const bubblewrap = requires("bubblewrap")

const decoder = new TextDecoder()

/** A manifest with files, a folder and variables; a command, and one that takes too long; what was kept, resumed. */
const works = Effect.gen(function*() {
  const folder = yield* temporaryFolder
  fs.writeFileSync(path.join(folder, "b.txt"), "from a folder\n")
  const sandbox = yield* Sandbox.Sandbox
  const state = yield* Effect.scoped(Effect.gen(function*() {
    const session = yield* sandbox.create({
      files: { "a.txt": "from a file\n" },
      directories: [{ source: folder, path: "more" }],
      environment: { WHO: "Ada" }
    }, { isKept: true })
    const { exitCode, stdout } = yield* session.exec("cat a.txt more/b.txt; echo $WHO; exit 3")
    assert.deepStrictEqual([exitCode, stdout], [3, "from a file\nfrom a folder\nAda\n"])
    const late = yield* session.exec("echo begun; sleep 60", { timeout: "3 seconds" })
    assert.deepStrictEqual([late.isTimedOut, late.stdout], [true, "begun\n"])
    yield* session.writeFile("notes/c.txt", "kept")
    return yield* Schema.encodeEffect(Schema.fromJsonString(Sandbox.SandboxState))(session.state)
  }))
  const resumption = yield* sandbox.resume(
    yield* Schema.decodeEffect(Schema.fromJsonString(Sandbox.SandboxState))(state)
  )
  assert.strictEqual(resumption._tag, "Resumed")
  if (resumption._tag === "Gone") return
  assert.strictEqual(decoder.decode(yield* resumption.session.readFile("notes/c.txt")), "kept")
})

/** A client of one's own: files in a Map, and a shell that knows `echo`. */
const shelf = (workspaces: Map<string, Map<string, Uint8Array>>, broken?: () => Effect.Effect<number, unknown>) => {
  const open = (id: string, files: Map<string, Uint8Array>): Sandbox.Workspace => ({
    id,
    location: `shelf:${id}`,
    root: "/shelf",
    exec: ({ command }, onOutput) =>
      broken?.() ?? Effect.sync(() => {
        onOutput("stdout", new TextEncoder().encode(String(command).replace(/^echo /, "")))
        return 0
      }),
    readFile: (name) =>
      files.has(name)
        ? Effect.succeed(files.get(name)!)
        : Effect.fail(new SandboxError.NotFound({ path: name })),
    writeFile: (name, content) => Effect.sync(() => void files.set(name, content)),
    list: () => Effect.sync(() => [...files.keys()].map((path) => ({ path, kind: "file" as const, size: 0 }))),
    remove: (name) => Effect.sync(() => void files.delete(name))
  })
  const nothing = {
    fileSystem: false,
    network: false,
    environment: false,
    processes: false,
    memory: false,
    cpu: false,
    kernel: false,
    identity: false
  }
  return Layer.succeed(
    Sandbox.Sandbox,
    Sandbox.make({
      backend: "shelf",
      guarantees: nothing,
      create: (isKept) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            const id = String(workspaces.size)
            const files = new Map<string, Uint8Array>()
            workspaces.set(id, files)
            return open(id, files)
          }),
          ({ id }) => Effect.sync(() => void (isKept() || workspaces.delete(id)))
        ),
      resume: ({ id }) => Effect.sync(() => workspaces.has(id) ? open(id, workspaces.get(id)!) : undefined)
    })
  )
}

describe("Custom sandbox client and session", () => {
  it.live.skipIf(!bubblewrap.available)(
    bubblewrap.title("bubblewrap: create, exec, write, resume; no command gets out"),
    () =>
      Effect.gen(function*() {
        const root = yield* temporaryFolder
        // Commands of root's programs are another user, who passes through.
        fs.chmodSync(root, 0o711)
        yield* Effect.gen(function*() {
          yield* works
          const sandbox = yield* Sandbox.Sandbox
          const session = yield* sandbox.create()
          const { exitCode } = yield* session.exec(["ls", root])
          assert.notStrictEqual(exitCode, 0)
          assert.isTrue(session.guarantees.network)
        }).pipe(Effect.provide(SandboxBubblewrap.layer({ root: path.join(root, "root") })))
      })
  )

  it.live("unconfined: create, exec, write, resume; says that it enforces nothing", () =>
    Effect.gen(function*() {
      const root = yield* temporaryFolder
      yield* Effect.gen(function*() {
        yield* works
        const { guarantees } = yield* Sandbox.Sandbox
        assert.notInclude(Object.values(guarantees), true)
      }).pipe(Effect.provide(SandboxUnconfined.layer({ root: path.join(root, "root") })))
    }))

  it.effect("virtual: a double with files in memory and commands by script, under an agent", () =>
    Effect.gen(function*() {
      const Coder = Agent.make({ name: "coder", toolkit: ToolsSandbox.toolkit })
      const { newItems } = yield* Runner.run(Coder, "Test it.")
      assert.match(String(outputs(newItems)[0]), /1 failed/)
      const { commands } = yield* SandboxVirtual.SandboxVirtual
      assert.deepStrictEqual((yield* commands).map(({ line }) => line), ["npm test"])
    }).pipe(Effect.provide([
      ToolsSandbox.layer.pipe(
        Layer.provide(Sandbox.layerSession({ files: { "package.json": "{}" } })),
        Layer.provideMerge(SandboxVirtual.layer({ exec: { "npm test": { stdout: "1 failed\n", exitCode: 1 } } }))
      ),
      ModelScripted.layer([ModelScripted.toolCall("shell", { command: "npm test" }), ModelScripted.text("It fails.")])
    ])))

  it.effect("Sandbox.make: a client of one's own creates, resumes and forgets", () => {
    const workspaces = new Map<string, Map<string, Uint8Array>>()
    return Effect.gen(function*() {
      const sandbox = yield* Sandbox.Sandbox
      const state = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* sandbox.create({ files: { "a.txt": "kept" } }, { isKept: true })
        assert.strictEqual((yield* session.exec("echo hello")).stdout, "hello")
        const outside = yield* Effect.flip(session.readFile("../b.txt"))
        assert.strictEqual(outside.reason._tag, "OutsideWorkspace")
        return session.state
      }))
      const resumed = yield* sandbox.resume(state)
      assert.strictEqual(resumed._tag, "Resumed")
      workspaces.clear()
      assert.strictEqual((yield* sandbox.resume(state))._tag, "Gone")
    }).pipe(Effect.provide(shelf(workspaces)))
  })
})

describe("Errors handled gracefully", () => {
  for (
    const [how, broken] of [
      ["throws", () => {
        throw new Error("out of order")
      }],
      ["rejects", () => Effect.promise(() => Promise.reject(new Error("out of order")))],
      ["dies", () => Effect.die(new Error("out of order"))]
    ] as const
  ) {
    it.effect(`sandbox: one that ${how} is a SandboxError with backend, operation and cause`, () =>
      Effect.gen(function*() {
        const session = yield* Sandbox.Sandbox.use((sandbox) => sandbox.create())
        const error = yield* Effect.flip(session.exec("echo hello"))
        assert.isTrue(SandboxError.isSandboxError(error))
        assert.deepInclude(error, { backend: "shelf", operation: "exec" })
        assert.include(inspect(error.cause), "out of order")
      }).pipe(Effect.provide(shelf(new Map(), broken))))
  }
})
