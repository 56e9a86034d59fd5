import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const sandbox: Template = {
  module: "SandboxAcme",
  description: "Workspaces at a service that keeps them elsewhere.",
  settings: `{}`,
  source: `/**
 * Workspaces at a service that keeps them elsewhere, and a session for each. Replace \`Boxes\`, which is in memory and has
 * a few programs, by the client of your service.
 */
import * as Sandbox from "agent-layers/services/Sandbox"
import * as SandboxError from "agent-layers/services/SandboxError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** The service, as its own client speaks to it. */
export class Boxes extends Context.Service<Boxes, {
  readonly open: Effect.Effect<string>
  /** The files of a box by path; nothing where it is gone. */
  readonly find: (box: string) => Effect.Effect<Map<string, Uint8Array> | undefined>
  readonly close: (box: string) => Effect.Effect<void>
  readonly count: Effect.Effect<number>
}>()("@PACKAGE@/SandboxAcme/Boxes") {
  static readonly layer: Layer.Layer<Boxes> = Layer.sync(this, () => {
    const boxes = new Map<string, Map<string, Uint8Array>>()
    let made = 0
    return {
      open: Effect.sync(() => {
        const box = "box-" + ++made
        boxes.set(box, new Map())
        return box
      }),
      find: (box) => Effect.sync(() => boxes.get(box)),
      close: (box) => Effect.sync(() => void boxes.delete(box)),
      count: Effect.sync(() => boxes.size)
    }
  })
}

const { LimitExceeded, NotFound, NotPermitted } = SandboxError

const encoder = new TextEncoder()

const isBelow = (directory: string) => (path: string): boolean => directory === "" || path.startsWith(directory + "/")

const parents = (path: string): ReadonlyArray<string> =>
  path.split("/").slice(0, -1).map((_, at, all) => all.slice(0, at + 1).join("/"))

/** Operations on one box. Paths come checked and relative; what goes wrong is a reason of SandboxError. */
const workspaceOf = (id: string, files: Map<string, Uint8Array>): Sandbox.Workspace => {
  const isDirectory = (path: string) => path === "" || [...files.keys()].some(isBelow(path))
  const directory = (path: string) =>
    isDirectory(path)
      ? Effect.void
      : Effect.fail(files.has(path) ? new NotPermitted({ path, description: "a file" }) : new NotFound({ path }))
  const programs = new Map<string, (...args: ReadonlyArray<string>) => Effect.Effect<Uint8Array>>([
    ["echo", (...words) => Effect.succeed(encoder.encode(words.join(" ") + "\\n"))],
    ["cat", (path = "") => Effect.succeed(files.get(path) ?? new Uint8Array())],
    ["sleep", (seconds) => Effect.as(Effect.sleep(Number(seconds) * 1000), new Uint8Array())]
  ])
  return {
    id,
    location: "boxes/" + id,
    root: "/box",
    // A timeout interrupts it.
    exec: Effect.fnUntraced(function*({ command, cwd }, onOutput) {
      yield* directory(cwd)
      const [name = "", ...args] = typeof command === "string" ? command.split(" ") : command
      const program = programs.get(name)
      if (program === undefined) return 127
      onOutput("stdout", yield* program(...args))
      return 0
    }),
    readFile: Effect.fnUntraced(function*(path, maximum) {
      const content = files.get(path)
      if (content === undefined) {
        return yield* isDirectory(path)
          ? new NotPermitted({ path, description: "a directory" })
          : new NotFound({ path })
      }
      const actual = content.length
      return actual > maximum ? yield* new LimitExceeded({ limit: "Bytes of " + path, maximum, actual }) : content
    }),
    writeFile: Effect.fnUntraced(function*(path, content) {
      const inTheWay = parents(path).find((parent) => files.has(parent)) ?? (isDirectory(path) ? path : undefined)
      if (inTheWay !== undefined) {
        return yield* new NotPermitted({ path, description: inTheWay + " is in the way" })
      }
      files.set(path, content.slice())
    }),
    list: Effect.fnUntraced(function*(path, { isRecursive }) {
      yield* directory(path)
      const below = [...files].filter(([file]) => isBelow(path)(file))
      const directories = new Set(below.flatMap(([file]) => parents(file)).filter(isBelow(path)))
      const entries: ReadonlyArray<Sandbox.FileEntry> = [
        ...[...directories].map((directory) => ({ path: directory, kind: "directory" as const, size: 0 })),
        ...below.map(([file, { length }]) => ({ path: file, kind: "file" as const, size: length }))
      ]
      const depth = path === "" ? 0 : path.split("/").length
      return isRecursive ? entries : entries.filter((entry) => entry.path.split("/").length === depth + 1)
    }),
    remove: Effect.fnUntraced(function*(path, { isRecursive }) {
      if (files.delete(path) || !isDirectory(path)) return
      if (!isRecursive) return yield* new NotPermitted({ path, description: "a directory" })
      for (const file of [...files.keys()].filter(isBelow(path))) files.delete(file)
    })
  }
}

/** What is not enforced is not claimed. */
export const guarantees: Sandbox.Guarantees = {
  fileSystem: false,
  network: false,
  environment: false,
  processes: false,
  memory: false,
  cpu: false,
  kernel: false,
  identity: false
}

/** \`Sandbox.make\` adds what all sandboxes share: paths that stay inside, manifests, timeouts, limits, typed errors. */
export const make = (boxes: Boxes["Service"]): Sandbox.Sandbox["Service"] => {
  const found = Effect.fnUntraced(function*(box: string, isKept: () => boolean) {
    const files = yield* boxes.find(box)
    if (files === undefined) return undefined
    yield* Effect.addFinalizer(() => Effect.suspend(() => isKept() ? Effect.void : boxes.close(box)))
    return workspaceOf(box, files)
  })
  return Sandbox.make({
    backend: "acme",
    guarantees,
    create: (isKept) =>
      boxes.open.pipe(
        Effect.flatMap((box) => found(box, isKept)),
        Effect.flatMap((workspace) => Effect.fromNullishOr(workspace)),
        Effect.uninterruptible
      ),
    resume: ({ id, location }, isKept) => location === "boxes/" + id ? found(id, isKept) : Effect.succeed(undefined)
  })
}

export const layer: Layer.Layer<Sandbox.Sandbox> = Layer.effect(Sandbox.Sandbox, Effect.map(Boxes, make)).pipe(
  Layer.provide(Boxes.layer)
)
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Effect from "effect/Effect"
import * as SandboxAcme from "./SandboxAcme.ts"

export default Extension.make({
  kind: "sandbox",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {},
  layer: () => SandboxAcme.layer,
  // Asked when it is built, and by \`health\`.
  probe: (sandbox) => Effect.scoped(sandbox.create())
})
`,
  testName: "laws",
  test: `/** The laws of Sandbox, over this one. */
import { assert, describe, it } from "@effect/vitest"
import { Law, SandboxLaws } from "agent-layers/testing"
import { Context, Effect, Layer } from "effect"
import * as SandboxAcme from "../src/SandboxAcme.ts"

const opened = Effect.map(Layer.build(SandboxAcme.Boxes.layer), Context.get(SandboxAcme.Boxes))

const subject = (boxes: SandboxAcme.Boxes["Service"]): SandboxLaws.SandboxSubject => ({
  open: Effect.succeed(SandboxAcme.make(boxes)),
  guarantees: SandboxAcme.guarantees,
  // Laws of commands run a POSIX shell: say true where yours has one, and they are shown.
  hasShell: false,
  workspaces: boxes.count,
  lose: ({ id }) => boxes.close(id)
})

describe("the laws of Sandbox", () => {
  for (const law of SandboxLaws.all) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, subject(yield* opened))
        if (outcome._tag === "Broken") assert.fail(outcome.report)
      }).pipe(Effect.scoped), 30_000)
  }

  it.live("a command runs", () =>
    Effect.gen(function*() {
      const sandbox = SandboxAcme.make(yield* opened)
      const session = yield* sandbox.create({ files: { "a.txt": "hello" } })
      assert.deepInclude(yield* session.exec("cat a.txt"), { exitCode: 0, stdout: "hello" })
      assert.deepInclude(yield* session.exec(["nothing"]), { exitCode: 127 })
      assert.deepInclude(yield* session.exec("sleep 60", { timeout: "50 millis" }), { isTimedOut: true })
    }).pipe(Effect.scoped))
})
`
}
