/** What a program's end means for its traces, and what its exporters mean for its end. */
import { assert, describe, it } from "@effect/vitest"
import * as TracerSqlite from "agent-layers/layers/tracer/TracerSqlite"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import * as openAiTraces from "../../support/tracer/openAiTraces.ts"
import * as otlp from "../../support/tracer/otlp.ts"
import type { Reply } from "../../support/tracer/peer.ts"

const fixture = fileURLToPath(new URL("fixtures/tracing.ts", import.meta.url))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** From the end of the run to that of the process. */
  readonly endedAfter: number
}

const execute = (args: ReadonlyArray<string>, signal: NodeJS.Signals | undefined) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(process.execPath, ["--conditions=agent-layers:source", "--no-warnings", fixture, ...args], {
      env: { ...process.env, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    let ran = Number.NaN
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
      if (Number.isNaN(ran) && stdout.includes("ran\n")) {
        ran = performance.now()
        if (signal !== undefined) child.kill(signal)
      }
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.once(
      "close",
      (code) => resume(Effect.succeed({ code, stdout, stderr, endedAfter: (performance.now() - ran) / 1000 }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const run = (way: string, options?: { readonly reply?: Reply; readonly signal?: NodeJS.Signals }) =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-"))),
      (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
    )
    const collector = yield* otlp.start
    const endpoint = yield* openAiTraces.start("key")
    if (options?.reply !== undefined) {
      const { reply } = options
      collector.reply = () => reply
      endpoint.reply = () => reply
    }
    const ended = yield* execute([way, folder, collector.url, endpoint.url], options?.signal)
    const lines = fs.readFileSync(path.join(folder, "traces.jsonl"), "utf8").trimEnd().split("\n")
    const stored = yield* TracerSqlite.TracerSqlite.use((store) => store.list()).pipe(
      Effect.provide(TracerSqlite.layerReader({ filename: path.join(folder, "traces.db") }))
    )
    assert.deepStrictEqual([...collector.faults, ...endpoint.faults], [])
    return {
      ended,
      otlp: collector.spans.map(({ name }) => name),
      openAi: endpoint.spans.map(({ span_data }) => span_data.type),
      lines: lines.map((line) => JSON.parse(line)._tag as string),
      stored: stored.map(({ isOver, outcome, spans }) => [spans, isOver, outcome])
    }
  })

const names = ["chat scripted", "execute_tool look", "turn 1", "chat scripted", "turn 2", "invoke_agent helper"]

const complete = ({ lines, openAi, stored }: Effect.Success<ReturnType<typeof run>>) => {
  assert.deepStrictEqual(openAi, ["generation", "function", "custom", "generation", "custom", "agent"])
  assert.deepStrictEqual(lines, ["TraceStart", ...names.map(() => "SpanEnd"), "TraceEnd"])
  assert.deepStrictEqual(stored, [[6, true, "succeeded"]])
}

describe("a program that ends", () => {
  it.live("has delivered every span", () =>
    Effect.gen(function*() {
      const seen = yield* run("end")
      assert.strictEqual(seen.ended.code, 0, seen.ended.stderr)
      assert.deepStrictEqual(seen.otlp, names)
      complete(seen)
    }), 240_000)

  it.live("has delivered every span to the OpenTelemetry SDK", () =>
    Effect.gen(function*() {
      const seen = yield* run("sdk")
      assert.strictEqual(seen.ended.code, 0, seen.ended.stderr)
      assert.include(seen.ended.stdout, "sdk 6")
      complete(seen)
    }), 240_000)

  it.live("has delivered every span where it failed, and keeps its exit code", () =>
    Effect.gen(function*() {
      const seen = yield* run("fail")
      assert.strictEqual(seen.ended.code, 1)
      assert.deepStrictEqual(seen.otlp, names)
      complete(seen)
    }), 240_000)

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it.live(`has delivered every span on ${signal}`, () =>
      Effect.gen(function*() {
        const seen = yield* run("wait", { signal })
        assert.strictEqual(seen.ended.code, 130)
        assert.deepStrictEqual(seen.otlp, names)
        complete(seen)
      }), 240_000)
  }

  for (
    const [what, reply] of [
      ["never answer", { delay: Infinity }],
      ["fail", { status: 500 }],
      ["break off", { reset: true }]
    ] as const
  ) {
    it.live(
      `keeps its exit code and ends in time where servers ${what}; files are whole`,
      () =>
        Effect.gen(function*() {
          const seen = yield* run("end", { reply })
          assert.strictEqual(seen.ended.code, 0, seen.ended.stderr)
          assert.isBelow(seen.ended.endedAfter, 6)
          assert.deepStrictEqual(seen.stored, [[6, true, "succeeded"]])
          assert.lengthOf(seen.lines, 8)
        }),
      240_000
    )
  }
})
