import { assert, describe, it } from "@effect/vitest"
import * as Sandbox from "agent-layers/services/Sandbox"
import * as SandboxError from "agent-layers/services/SandboxError"
import * as Tracer from "agent-layers/services/Tracer"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"

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

/** The least backend: files in a map, and one command that says what it was given. */
const backend = (change: Partial<Sandbox.Workspace> = {}) => {
  const log: Array<string> = []
  const files = new Map<string, Uint8Array>()
  const primitives: Sandbox.Primitives = {
    backend: "map",
    guarantees,
    create: (isKept) =>
      Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => log.push("made")),
          () => Effect.sync(() => log.push(isKept() ? "kept" : "removed"))
        ),
        {
          id: "1",
          location: "memory",
          root: "/box",
          exec: (command, onOutput) =>
            Effect.sync(() => {
              onOutput("stdout", new TextEncoder().encode(JSON.stringify(command)))
              return 0
            }),
          readFile: (path) => Effect.fromNullishOr(files.get(path)),
          writeFile: (path, content) =>
            Effect.sync(() => {
              files.set(path, content)
            }),
          list: () =>
            Effect.sync(() =>
              Array.from(files, ([path, { length }]) => ({ path, kind: "file" as const, size: length }))
            ),
          remove: (path) => Effect.sync(() => {
            files.delete(path)
          }),
          ...change
        }
      )
  }
  return { sandbox: Sandbox.make(primitives), log, files }
}

const reasonOf = <A, E extends SandboxError.SandboxError, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("Sandbox.make", () => {
  it.effect("fills in what a command needs", () =>
    Effect.gen(function*() {
      const session = yield* backend().sandbox.create({ environment: { A: "1", B: "1" } })
      const given = yield* session.exec(["run", "it"], { environment: { B: "2" }, cwd: "/box/a/./b/", stdin: "x" })
      assert.deepStrictEqual(JSON.parse(given.stdout), {
        command: ["run", "it"],
        environment: { A: "1", B: "2" },
        cwd: "a/b",
        stdin: { 0: 120 }
      })
      const plain = yield* session.exec("run it")
      assert.deepStrictEqual(JSON.parse(plain.stdout), {
        command: "run it",
        environment: { A: "1", B: "1" },
        cwd: ""
      })
    }))

  it.effect("declines what the backend has no primitive for", () =>
    Effect.gen(function*() {
      const { log, sandbox } = backend()
      const reason = yield* reasonOf(sandbox.create({ directories: [{ source: "/tmp" }] }))
      assert.strictEqual(reason._tag, "Unsupported")
      assert.deepStrictEqual(log, ["made", "removed"])
      const { state } = yield* sandbox.create({}, { isKept: true })
      assert.deepStrictEqual(yield* sandbox.resume(state), { _tag: "Gone" })
    }))

  it.effect("makes a typed error of whatever goes wrong in a primitive", () =>
    Effect.gen(function*() {
      const { sandbox } = backend({
        exec: () => Effect.die(new Error("exec died")),
        readFile: () => {
          throw new Error("read threw")
        },
        writeFile: () => Effect.fail("write failed"),
        list: () => Effect.fail(new SandboxError.NotFound({ path: "x" }))
      })
      const session = yield* sandbox.create()
      const exec = yield* reasonOf(session.exec("x"))
      assert.strictEqual(exec._tag, "ExecFailed")
      assert.include(exec.message, "exec died")
      const read = yield* reasonOf(session.readFile("x"))
      assert.strictEqual(read._tag, "FileSystemFailed")
      assert.include(read.message, "read threw")
      const write = yield* reasonOf(session.writeFile("x", ""))
      assert.strictEqual(write._tag, "FileSystemFailed")
      assert.isFalse(write.isRetryable)
      assert.strictEqual((yield* reasonOf(session.list()))._tag, "NotFound")
    }))

  it.effect("refuses limits and variables that mean nothing", () =>
    Effect.gen(function*() {
      const session = yield* backend().sandbox.create()
      assert.strictEqual((yield* reasonOf(session.readFile("a", { maxBytes: Number.NaN })))._tag, "NotPermitted")
      assert.strictEqual((yield* reasonOf(session.list("a", { maxEntries: -1 })))._tag, "NotPermitted")
      assert.strictEqual((yield* reasonOf(session.exec("a", { maxOutputBytes: -1 })))._tag, "ExecFailed")
      assert.strictEqual((yield* reasonOf(session.exec("a", { timeout: "soon" as never })))._tag, "ExecFailed")
      assert.strictEqual((yield* reasonOf(session.exec("a", { environment: { A: "\0" } })))._tag, "ExecFailed")
    }))

  it.effect("interrupts a command at its timeout, by the clock of the program, and keeps what it had said", () =>
    Effect.gen(function*() {
      const { log, sandbox } = backend({
        exec: (_command, onOutput) =>
          Effect.onInterrupt(
            Effect.andThen(Effect.sync(() => onOutput("stderr", Uint8Array.of(104, 105))), Effect.never),
            () => Effect.sync(() => onOutput("stdout", Uint8Array.of(98, 121, 101)))
          )
      })
      const session = yield* sandbox.create()
      const fiber = yield* Effect.forkChild(session.exec("x", { timeout: "1 hour" }))
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Fiber.join(fiber), {
        exitCode: 124,
        stdout: "bye",
        stderr: "hi",
        isTimedOut: true,
        isTruncated: false,
        durationMillis: 3_600_000
      })
      assert.deepStrictEqual(log, ["made"])
    }))

  it.effect("knows a duration without end", () =>
    Effect.gen(function*() {
      const session = yield* backend({ exec: () => Effect.as(Effect.sleep("1000 days"), 7) }).sandbox.create()
      const fiber = yield* Effect.forkChild(session.exec("x", { timeout: Infinity }))
      yield* TestClock.adjust("1000 days")
      assert.strictEqual((yield* Fiber.join(fiber)).exitCode, 7)
    }))

  it.effect("stops what runs and waits for it before the workspace goes", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const log: Array<string> = []
      const made = backend({
        exec: () =>
          Effect.onInterrupt(
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never),
            () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => log.push("stopped", ...made.log)))
          )
      })
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(made.sandbox.create(), scope)
      const running = yield* Effect.forkChild(reasonOf(session.exec("x")))
      yield* Deferred.await(started)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.strictEqual((yield* Fiber.join(running))._tag, "Closed")
      assert.deepStrictEqual(log, ["stopped", "made"])
      assert.deepStrictEqual(made.log, ["made", "removed"])
    }))

  it.effect("removes a workspace at once where its manifest fails, though the scope stays open", () =>
    Effect.gen(function*() {
      const { log, sandbox } = backend({
        writeFile: () =>
          Effect.fail(
            new SandboxError.NotPermitted({
              path: "a",
              description: "no"
            })
          )
      })
      const reason = yield* reasonOf(sandbox.create({ files: { a: "" } }, { isKept: true }))
      assert.strictEqual(reason._tag, "InvalidManifest")
      assert.deepStrictEqual(log, ["made", "removed"])
    }))

  it.effect("makes a span of each operation, failed where that failed", () =>
    Effect.gen(function*() {
      const spans: Array<string> = []
      const processor: Tracer.TraceProcessor = {
        onSpanEnd: ({ data, error, outcome }) =>
          Effect.sync(() => {
            if (data._tag === "Sandbox") spans.push(`${data.backend} ${data.operation} ${outcome} ${error?.tag ?? ""}`)
          })
      }
      yield* Effect.gen(function*() {
        const { sandbox } = backend()
        const session = yield* sandbox.create()
        yield* session.exec("x")
        yield* Effect.flip(session.readFile("../x"))
        yield* sandbox.resume(session.state)
      }).pipe(Effect.scoped, Effect.provide(Tracer.addProcessor(Effect.succeed(processor))))
      assert.deepStrictEqual(spans, [
        "map create succeeded ",
        "map exec succeeded ",
        "map readFile failed SandboxError",
        "map resume succeeded "
      ])
    }))

  it.effect("gives a Layer of one workspace", () =>
    Effect.gen(function*() {
      const { log, sandbox } = backend()
      const layer = Sandbox.layerSession({ files: { a: "b" } }).pipe(
        Layer.provide(Layer.succeed(Sandbox.Sandbox, sandbox))
      )
      const content = yield* Sandbox.SandboxSession.use((session) => session.readFile("a")).pipe(Effect.provide(layer))
      assert.deepStrictEqual(content, new TextEncoder().encode("b"))
      assert.deepStrictEqual(log, ["made", "removed"])
    }))
})

describe("the cap on output", () => {
  const output = (chunks: ReadonlyArray<Uint8Array>, maxOutputBytes: number) =>
    Effect.gen(function*() {
      const { sandbox } = backend({
        exec: (_command, onOutput) =>
          Effect.sync(() => {
            for (const chunk of chunks) onOutput("stdout", chunk)
            return 0
          })
      })
      const session = yield* sandbox.create()
      return yield* session.exec("x", { maxOutputBytes })
    })

  it.effect.prop(
    "keeps the first and the last bytes, however they come",
    {
      text: Schema.String,
      sizes: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 40 }))),
      maximum: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 60 }))
    },
    ({ maximum, sizes, text }) =>
      Effect.gen(function*() {
        const bytes = new TextEncoder().encode(text.repeat(4))
        const chunks: Array<Uint8Array> = []
        for (let at = 0, index = 0; at < bytes.length; index++) {
          const size = sizes[index % sizes.length]!
          chunks.push(bytes.slice(at, at + size))
          at += size
        }
        const result = yield* output(chunks, maximum)
        if (bytes.length <= maximum) {
          assert.isFalse(result.isTruncated)
          assert.strictEqual(result.stdout, new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes))
          return
        }
        assert.isTrue(result.isTruncated)
        const [, first, leftOut, last] = /^([^]*)\n\[… (\d+) bytes left out …\]\n([^]*)$/.exec(result.stdout)!
        const head = new TextEncoder().encode(first)
        const tail = new TextEncoder().encode(last)
        assert.strictEqual(head.length + Number(leftOut) + tail.length, bytes.length)
        assert.deepStrictEqual(head, bytes.slice(0, head.length))
        assert.deepStrictEqual(tail, bytes.slice(bytes.length - tail.length))
        assert.isAtMost(head.length, Math.ceil(maximum / 2))
        assert.isAtLeast(head.length, Math.ceil(maximum / 2) - 3)
        assert.isAtMost(tail.length, Math.floor(maximum / 2))
        assert.isAtLeast(tail.length, Math.floor(maximum / 2) - 3)
      })
  )
})

describe("SandboxError", () => {
  const reasons: ReadonlyArray<SandboxError.SandboxErrorReason> = [
    new SandboxError.Unavailable({ description: "Install it" }),
    new SandboxError.InvalidManifest({ path: "a", description: "no" }),
    new SandboxError.OutsideWorkspace({ path: "../a" }),
    new SandboxError.NotFound({ path: "a" }),
    new SandboxError.NotPermitted({ path: "a", description: "no" }),
    new SandboxError.LimitExceeded({ limit: "Bytes", maximum: 1, actual: 2 }),
    new SandboxError.ExecFailed({ description: "lost" }),
    new SandboxError.FileSystemFailed({ path: "a", description: "full", isTransient: true }),
    new SandboxError.Unsupported({ description: "cannot" }),
    new SandboxError.Closed()
  ]

  it.effect("has a message, says whether to retry, and survives JSON, whatever its reason", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        reasons.map(({ _tag }) => _tag),
        SandboxError.SandboxErrorReason.members.map(({ identifier }) => identifier.split("/").at(-1)) as never
      )
      const codec = Schema.toCodecJson(SandboxError.SandboxError)
      for (const reason of reasons) {
        const error = new SandboxError.SandboxError({ backend: "b", operation: "o", reason })
        assert.isTrue(SandboxError.isSandboxError(error) && SandboxError.isSandboxErrorReason(reason))
        assert.include(error.message, reason.message)
        assert.isNotEmpty(reason.message)
        assert.strictEqual(error.isRetryable, reason._tag === "FileSystemFailed")
        const again = yield* Schema.decodeEffect(codec)(yield* Schema.encodeEffect(codec)(error))
        assert.strictEqual(again.message, error.message)
        assert.isTrue(SandboxError.isSandboxErrorReason(again.reason))
      }
    }))
})
