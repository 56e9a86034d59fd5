/**
 * A sandbox of one's own: the client of a service that keeps workspaces elsewhere, and a session for each of them.
 *
 * `Sandbox.make` takes what the service can do, and adds what all sandboxes share: paths that stay inside, manifests
 * that are carried out whole or not at all, timeouts, limits, typed errors, `Closed`.
 *
 * To see a compile error, take `.pipe(Layer.provide(Boxes.layer))` away: `Boxes` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Sandbox, SandboxError } from "agent-layers"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import { Clock, Console, Context, Effect, Layer, Schema } from "effect"

/** The service, as its own client speaks to it: files by path, and a few programs. In memory here. */
export class Boxes extends Context.Service<Boxes, {
  readonly open: Effect.Effect<string>
  readonly find: (box: string) => Effect.Effect<Map<string, Uint8Array> | undefined>
  readonly close: (box: string) => Effect.Effect<void>
}>()("example/Boxes") {
  static readonly layer = Layer.sync(Boxes, () => {
    const boxes = new Map<string, Map<string, Uint8Array>>()
    let made = 0
    const open = () => {
      const box = `box-${++made}`
      boxes.set(box, new Map())
      return box
    }
    return Boxes.of({
      open: Effect.sync(open),
      find: (box) => Effect.sync(() => boxes.get(box)),
      close: (box) => Effect.sync(() => void boxes.delete(box))
    })
  })
}

const { LimitExceeded, NotFound, NotPermitted } = SandboxError
const encoder = new TextEncoder()
const isBelow = (directory: string) => (path: string) => directory === "" || path.startsWith(`${directory}/`)
const parents = (path: string) => path.split("/").slice(0, -1).map((_, at, all) => all.slice(0, at + 1).join("/"))

/** A session: operations on one box. Paths come checked and relative; what is wrong is a reason of SandboxError. */
const workspaceOf = (id: string, files: Map<string, Uint8Array>): Sandbox.Workspace => {
  const isDirectory = (path: string) => path === "" || [...files.keys()].some(isBelow(path))
  const directory = (path: string) =>
    isDirectory(path)
      ? Effect.void
      : Effect.fail(files.has(path) ? new NotPermitted({ path, description: "a file" }) : new NotFound({ path }))
  const programs: Record<string, (...paths: ReadonlyArray<string>) => Effect.Effect<Uint8Array>> = {
    cat: (path = "") => Effect.succeed(files.get(path) ?? new Uint8Array()),
    date: () => Effect.map(Clock.currentTimeMillis, (now) => encoder.encode(`${now}\n`)),
    sleep: (seconds) => Effect.as(Effect.sleep(Number(seconds) * 1000), new Uint8Array())
  }
  return {
    id,
    location: `boxes/${id}`,
    root: "/box",
    // No shell is there: a line is a program and its arguments. A timeout interrupts it.
    exec: Effect.fnUntraced(function*({ command, cwd }, onOutput) {
      yield* directory(cwd)
      const [name = "", ...args] = typeof command === "string" ? command.split(" ") : command
      const program = Object.hasOwn(programs, name) ? programs[name] : undefined
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
      return actual > maximum ? yield* new LimitExceeded({ limit: `Bytes of "${path}"`, maximum, actual }) : content
    }),
    writeFile: Effect.fnUntraced(function*(path, content) {
      const inTheWay = parents(path).find((parent) => files.has(parent)) ?? (isDirectory(path) ? path : undefined)
      if (inTheWay !== undefined) return yield* new NotPermitted({ path, description: `"${inTheWay}" is in the way` })
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
const guarantees = {
  fileSystem: false,
  network: false,
  environment: false,
  processes: false,
  memory: false,
  cpu: false,
  kernel: false,
  identity: false
}

/** The client: makes boxes and finds them again. */
export const SandboxBoxes = Layer.effect(
  Sandbox.Sandbox,
  Effect.map(Boxes, (boxes) => {
    const found = Effect.fnUntraced(function*(box: string, isKept: () => boolean) {
      const files = yield* boxes.find(box)
      if (files === undefined) return undefined
      yield* Effect.addFinalizer(() => Effect.suspend(() => isKept() ? Effect.void : boxes.close(box)))
      return workspaceOf(box, files)
    })
    return Sandbox.make({
      backend: "boxes",
      guarantees,
      create: (isKept) =>
        boxes.open.pipe(
          Effect.flatMap((box) => found(box, isKept)),
          Effect.flatMap((workspace) => Effect.fromNullishOr(workspace)),
          Effect.uninterruptible
        ),
      resume: ({ id, location }, isKept) => location === `boxes/${id}` ? found(id, isKept) : Effect.succeed(undefined)
    })
  })
)

const Coder = Agent.make({ name: "coder", toolkit: ToolsSandbox.toolkit })
const StateJson = Schema.fromJsonString(Sandbox.SandboxState)

const program = Effect.gen(function*() {
  const sandbox = yield* Sandbox.Sandbox
  const work = Effect.gen(function*() {
    const session = yield* sandbox.create({ files: { "notes/a.txt": "Buy tea." } }, { isKept: true })
    const Tools = ToolsSandbox.layer.pipe(Layer.provide(Layer.succeed(Sandbox.SandboxSession, session)))
    const { finalOutput } = yield* Effect.provide(Runner.run(Coder, "What is there to do?"), [Tools, Model])
    yield* Console.log(finalOutput)
    const slept = yield* session.exec(["sleep", "60"], { timeout: "50 millis" })
    yield* Console.log(`sleep 60: exit code ${slept.exitCode}, timed out: ${slept.isTimedOut}`)
    return yield* Schema.encodeEffect(StateJson)(session.state)
  })
  const state = yield* Effect.scoped(work)
  yield* Console.log(state)
  const again = yield* sandbox.resume(yield* Schema.decodeEffect(StateJson)(state), undefined, { isKept: false })
  if (again._tag !== "Resumed") return yield* Console.log(again._tag)
  const files = yield* again.session.list("notes")
  yield* Console.log(`${again._tag}: ${files.map(({ path, size }) => `${path} (${size} bytes)`).join(", ")}`)
})

// With a key: ModelOpenAIResponses.layerConfig({ apiKey: Config.Redacted("OPENAI_API_KEY") })
const Model = ModelScripted.layer([
  ModelScripted.toolCall("shell", { command: "cat notes/a.txt" }),
  ModelScripted.toolCall("write_file", { path: "notes/b.txt", content: "Tea is bought." }),
  ModelScripted.text("Tea was to be bought. It is.")
])

const Client = SandboxBoxes.pipe(Layer.provide(Boxes.layer))

if (import.meta.main) program.pipe(Effect.scoped, Effect.provide(Client), NodeRuntime.runMain)
