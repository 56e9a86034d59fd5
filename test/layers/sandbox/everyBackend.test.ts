/** One story over every backend: a workspace with files, folders and variables, left by one program and found by the next. */
import { assert, describe, it } from "@effect/vitest"
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SandboxVirtual from "agent-layers/layers/sandbox/SandboxVirtual"
import * as Sandbox from "agent-layers/services/Sandbox"
import type { SandboxError } from "agent-layers/services/SandboxError"
import { Effect, Layer, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { beforeAll } from "vitest"
import { requires } from "../../support/requires.ts"
import { temporary } from "./subject.ts"

const scratch = temporary("every-backend")
const source = path.join(scratch, "source")
beforeAll(() => {
  fs.mkdirSync(path.join(source, "lib"), { recursive: true })
  fs.writeFileSync(path.join(source, "lib/a.txt"), "from a folder")
  fs.writeFileSync(path.join(source, ".env"), "TOKEN=1")
})

const greet = "printf '%s, %s' \"$GREETING\" \"$(cat lib/a.txt)\" > said.txt; cat said.txt; echo warned >&2; exit 3"
const slow = "echo begun; sleep 60; echo never"

// Its files are there for as long as it is.
const virtual = SandboxVirtual.layer({
  host: { [`${source}/lib/a.txt`]: "from a folder", [`${source}/.env`]: "TOKEN=1" },
  exec: {
    [greet]: ({ environment, files }) => {
      const said = `${environment.GREETING}, ${files.read("lib/a.txt")}`
      return { stdout: said, stderr: "warned\n", exitCode: 3, writes: { "said.txt": said } }
    },
    [slow]: [{ stdout: "begun\n" }, { after: "1 minute" }]
  }
})

const bubblewrap = requires("bubblewrap")

const backends: Record<string, { readonly skip: boolean; readonly layer: Layer.Layer<Sandbox.Sandbox, SandboxError> }> =
  {
    virtual: { skip: false, layer: virtual },
    unconfined: { skip: false, layer: SandboxUnconfined.layer({ root: path.join(scratch, "unconfined") }) },
    bubblewrap: {
      skip: !bubblewrap.available,
      layer: SandboxBubblewrap.layer({ root: path.join(scratch, "bubblewrap") })
    }
  }

const manifest: Sandbox.Manifest = {
  files: { "readme.md": "# Hello", "data/bytes": Uint8Array.of(0, 255) },
  directories: [{ source, exclude: [".env"] }],
  environment: { GREETING: "Good morning" }
}

const StateJson = Schema.fromJsonString(Sandbox.SandboxState)

const text = (session: Sandbox.SandboxSession["Service"], name: string) =>
  Effect.map(session.readFile(name), (bytes) => new TextDecoder().decode(bytes))

/** Works in a new workspace and leaves it; all that remains is a text. */
const first = Effect.scoped(Effect.gen(function*() {
  const sandbox = yield* Sandbox.Sandbox
  const session = yield* sandbox.create(manifest, { isKept: true })
  assert.deepStrictEqual((yield* session.list("", { isRecursive: true })).map((entry) => entry.path), [
    ...["data", "data/bytes", "lib", "lib/a.txt", "readme.md"]
  ])
  assert.deepInclude(yield* session.exec(greet), {
    exitCode: 3,
    stdout: "Good morning, from a folder",
    stderr: "warned\n",
    isTimedOut: false
  })
  assert.strictEqual(yield* text(session, "said.txt"), "Good morning, from a folder")
  const stopped = yield* session.exec(slow, { timeout: "3 seconds" })
  assert.deepInclude(stopped, { exitCode: 124, stdout: "begun\n", isTimedOut: true })
  yield* session.writeFile("lib/b.txt", "written")
  return yield* Schema.encodeEffect(StateJson)(session.state)
}))

/** Goes on where the first stopped, and leaves nothing; a third one begins anew. */
const second = Effect.fnUntraced(function*(json: string) {
  const sandbox = yield* Sandbox.Sandbox
  const state = yield* Schema.decodeEffect(StateJson)(json)
  yield* Effect.scoped(Effect.gen(function*() {
    const found = yield* sandbox.resume(state, manifest, { isKept: false })
    if (found._tag !== "Resumed") return assert.fail(found._tag)
    const { session } = found
    assert.strictEqual(yield* text(session, "lib/b.txt"), "written")
    assert.strictEqual(yield* text(session, "readme.md"), "# Hello")
    assert.strictEqual((yield* session.exec(greet)).stdout, "Good morning, from a folder")
  }))
  assert.deepStrictEqual(yield* sandbox.resume(state), { _tag: "Gone" })
  yield* Effect.scoped(Effect.gen(function*() {
    const anew = yield* sandbox.resume(state, manifest, { isKept: false })
    if (anew._tag !== "Recreated") return assert.fail(anew._tag)
    assert.match(anew.lost, /Every change/)
    assert.deepStrictEqual((yield* anew.session.list("lib")).map((entry) => entry.path), ["lib/a.txt"])
  }))
})

describe("every sandbox", () => {
  for (const [name, { layer, skip }] of Object.entries(backends)) {
    it.live.skipIf(skip)(skip ? bubblewrap.title(name) : name, () =>
      name === "virtual"
        ? Effect.provide(Effect.flatMap(first, second), layer)
        // Each builds its own, as two programs would.
        : Effect.flatMap(Effect.provide(first, layer), (json) => Effect.provide(second(json), layer)))
  }
})
