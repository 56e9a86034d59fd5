import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as TracerJsonLines from "agent-layers/layers/tracer/TracerJsonLines"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as Tracer from "agent-layers/services/Tracer"
import { Config, ConfigProvider, Effect, Exit, Layer, Schema } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { describeLaws } from "../../support/laws.ts"
import { agent, readEntries, spansOf, tool } from "../../support/tracer/entries.ts"

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Tracer.TraceEntry))

const entriesIn = (file: string) =>
  fs.readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => decode(line))

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

const layer = (options: TracerJsonLines.Options) => Layer.provide(TracerJsonLines.layer(options), NodeFileSystem.layer)

const subject = (options: Omit<TracerJsonLines.Options, "path">, capacity: number): TracerLaws.Subject => ({
  capacity,
  open: (beside) =>
    Effect.gen(function*() {
      const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-")), "traces.jsonl")
      const context = yield* Layer.build(
        Layer.merge(beside, layer({ path: file, flushTimeout: "30 seconds", ...options }))
      )
      return { context, ...readEntries(context, Effect.sync(() => entriesIn(file))) }
    })
})

describeLaws("TracerJsonLines", TracerLaws.all, subject({}, 2048))

describeLaws("TracerJsonLines with little room", TracerLaws.all, subject({ maxQueueSize: 20 }, 20))

describe("TracerJsonLines", () => {
  it.live("appends to what is there, also to half a line, and keeps the file to its owner", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "t.jsonl")
      yield* agent("one", tool("t", Effect.void)).pipe(Effect.provide(layer({ path: file })))
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
      const whole = entriesIn(file).length
      fs.appendFileSync(file, `{"_tag":"SpanEnd","sp`)
      yield* agent("two", tool("t", Effect.void)).pipe(Effect.provide(layer({ path: file })))
      const lines = fs.readFileSync(file, "utf8").split("\n")
      assert.strictEqual(lines[whole], `{"_tag":"SpanEnd","sp`)
      assert.deepStrictEqual(lines.slice(whole + 1, -1).map((line) => decode(line)._tag), [
        "TraceStart",
        "SpanEnd",
        "SpanEnd",
        "TraceEnd"
      ])
    }))

  it.live("rotates by size, and keeps so many files", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = path.join(dir, "t.jsonl")
      const written = yield* Effect.gen(function*() {
        for (let index = 0; index < 12; index++) {
          yield* agent(`a${index}`, Effect.void)
          yield* Effect.flatMap(Tracer.Tracer, (tracer) => tracer.flush)
        }
        return yield* Tracer.dropped
      }).pipe(Effect.provide(layer({ path: file, maxFileSize: 1500, maxFiles: 3 })))
      assert.strictEqual(written, 0)
      assert.deepStrictEqual(fs.readdirSync(dir).sort(), ["t.jsonl", "t.jsonl.1", "t.jsonl.2"])
      const names = ["t.jsonl.2", "t.jsonl.1", "t.jsonl"].flatMap((name) =>
        spansOf(entriesIn(path.join(dir, name))).map((span) => span.name)
      )
      assert.strictEqual(names.at(-1), "invoke_agent a11")
      assert.isAtLeast(names.length, 3)
      assert.deepStrictEqual(
        names,
        Array.from({ length: names.length }, (_, i) => `invoke_agent a${12 - names.length + i}`)
      )
      for (const name of fs.readdirSync(dir)) assert.isAtMost(fs.statSync(path.join(dir, name)).size, 1500)
    }))

  it.live("writes what JSON cannot say, and cuts long texts between characters", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "t.jsonl")
      const circular: Record<string, unknown> = { big: 10n }
      circular["self"] = circular
      const custom = (data: Record<string, unknown>) =>
        Tracer.withSpan(Effect.void, () => ({ _tag: "Custom", name: "c", data }) as const)
      yield* Effect.all([
        custom({ big: 10n, none: undefined, when: new Date(0), text: `${"a".repeat(99)}😀` }),
        custom(circular),
        custom({
          toJSON: () => {
            throw new Error("no")
          }
        })
      ]).pipe(Effect.provide(layer({ path: file, maxTextLength: 100 })))
      const [first, second, third] = spansOf(entriesIn(file)).map(({ data }) => data._tag === "Custom" ? data.data : {})
      assert.deepStrictEqual(first, {
        big: "10",
        when: "1970-01-01T00:00:00.000Z",
        text: `${"a".repeat(99)}… (cut: 101 characters)`
      })
      assert.deepStrictEqual(second, { big: "10", self: "(circular)" })
      assert.deepStrictEqual(third, {})
    }))

  it.live("fails with a typed error where the file cannot be opened", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "nowhere", "t.jsonl")
      const error = yield* Effect.flip(Layer.build(layer({ path: file })))
      assert.strictEqual(error._tag, "TracerError")
      assert.strictEqual(error.operation, "open")
      assert.include(error.message, `jsonl: open failed: "${file}" cannot be written`)
    }))

  it.live("counts what it could not write, and writes again when it can", () =>
    Effect.gen(function*() {
      const dir = yield* folder
      const file = path.join(dir, "t.jsonl")
      const told: Array<string> = []
      yield* Effect.gen(function*() {
        const { flush } = yield* Tracer.Tracer
        fs.mkdirSync(`${file}.1`)
        fs.writeFileSync(path.join(`${file}.1`, "in the way"), "")
        yield* agent("first", Effect.void)
        yield* flush
        yield* agent("lost", Effect.void)
        yield* flush
        assert.strictEqual(yield* Tracer.dropped, 1)
        fs.rmSync(`${file}.1`, { recursive: true })
        yield* agent("later", Effect.void)
        yield* flush
        assert.strictEqual(yield* Tracer.dropped, 1)
      }).pipe(
        Effect.provide(
          layer({
            path: file,
            maxFileSize: 10,
            maxFiles: 2,
            onError: (error) => Effect.sync(() => void told.push(error.operation))
          })
        )
      )
      assert.deepStrictEqual(told, ["export"])
      assert.deepStrictEqual(spansOf(entriesIn(file)).map(({ name }) => name), ["invoke_agent later"])
    }))

  it.live("takes its options from configuration", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "t.jsonl")
      const configured = TracerJsonLines.layerConfig({ path: Config.String("TRACES") }).pipe(
        Layer.provide(NodeFileSystem.layer)
      )
      yield* agent("a", Effect.void).pipe(
        Effect.provide(configured),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ TRACES: file })))
      )
      assert.strictEqual(spansOf(entriesIn(file)).length, 1)
      const missing = yield* Effect.exit(
        Layer.build(Layer.provide(configured, ConfigProvider.layer(ConfigProvider.fromUnknown({}))))
      )
      assert.isTrue(Exit.isFailure(missing))
    }))
})
