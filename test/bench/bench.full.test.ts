// oxlint-disable no-await-in-loop -- everything here happens one after another on purpose
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { untilSo } from "../support/until.ts"
import { toJson, toTable } from "./report.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

// A copy of the benchmark with the project's sources and packages around it, but without the peers, whether or not they are
// installed in this checkout.
let copy = ""

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "agent-layers-bench-"))
  mkdirSync(join(copy, "test"))
  cpSync(join(root, "test/bench"), join(copy, "test/bench"), {
    recursive: true,
    filter: (path) => basename(path) !== "node_modules"
  })
  symlinkSync(join(root, "src"), join(copy, "src"))
  cpSync(join(root, "package.json"), join(copy, "package.json"))
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"))
})

afterAll(() => {
  rmSync(copy, { recursive: true, force: true })
})

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const start = (args: ReadonlyArray<string>) => {
  const child = spawn(
    process.execPath,
    ["--conditions=agent-layers:source", join(copy, "test/bench/main.ts"), ...args],
    {
      stdio: ["ignore", "pipe", "pipe"]
    }
  )
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
  })
  const said = (pattern: RegExp): Promise<void> =>
    new Promise((resolve) => {
      child.stderr.on("data", () => pattern.test(stderr) ? resolve() : undefined)
    })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code) => resolve({ code, stdout, stderr }))
  })
  return { child, ended, said }
}

const turnMetrics = ["k1_off_us", "k10_off_us", "k100_off_us", "k1_traced_us", "k10_traced_us", "k100_traced_us"]

describe("npm run bench", () => {
  it("prints one JSON object on standard output and shows peers that are absent as absent", async () => {
    const { code, stderr, stdout } = await start([
      "--only",
      "turn",
      "--repetitions",
      "1",
      "--no-install",
      "--quick",
      "--json"
    ]).ended
    assert.strictEqual(code, 0, stderr)
    const result = JSON.parse(stdout) as Record<string, Record<string, Record<string, number>>>
    assert.deepStrictEqual(Object.keys(result), ["turn"])
    assert.deepStrictEqual(Object.keys(result["turn"] ?? {}), ["agent-layers", "floor", "ai", "@openai/agents"])
    for (const metric of turnMetrics) {
      assert.isAbove(result["turn"]?.["agent-layers"]?.[metric] ?? Number.NaN, 0, metric)
    }
    assert.isAbove(result["turn"]?.["agent-layers"]?.["k10_traced_spans"] ?? 0, 0)
    assert.isAbove(result["turn"]?.["floor"]?.["k1_off_us"] ?? Number.NaN, 0)
    assert.deepStrictEqual(result["turn"]?.["ai"], {})
    assert.deepStrictEqual(result["turn"]?.["@openai/agents"], {})
    assert.include(stderr, "ai: absent (not installed)")
    assert.match(stderr, /@openai\/agents +absent/)
  }, 240_000)

  it("measures the streams, and prints readable tables without --json", async () => {
    const { code, stderr, stdout } = await start([
      "--only",
      "stream",
      "--repetitions",
      "1",
      "--no-install",
      "--quick"
    ]).ended
    assert.strictEqual(code, 0, stderr)
    assert.match(stdout, /chunks_deltas_per_s +agent-layers +[\d,]+ \[/)
    assert.match(stdout, /single_deltas_per_s +agent-layers +[\d,]+ \[/)
    assert.match(stdout, / ai +absent/)
  }, 240_000)

  it("measures 1,000 runs at once and their memory", async () => {
    const { code, stderr, stdout } = await start([
      "--only",
      "concurrent",
      "--subjects",
      "agent-layers,floor",
      "--repetitions",
      "1",
      "--no-install",
      "--quick",
      "--json"
    ]).ended
    assert.strictEqual(code, 0, stderr)
    const result = JSON.parse(stdout) as Record<string, Record<string, Record<string, number>>>
    for (const subject of ["agent-layers", "floor"]) {
      const metrics = result["concurrent"]?.[subject] ?? {}
      assert.deepStrictEqual(Object.keys(metrics), [
        "cold_wall_ms",
        "peak_rss_mb",
        "rss_over_baseline_mb",
        "heap_peak_mb",
        "warm_wall_ms"
      ])
      // Two sleeps of 5 ms one after the other; 1,000 runs one after another would take 10 s.
      assert.isAbove(metrics["cold_wall_ms"] ?? Number.NaN, 9, subject)
      assert.isBelow(metrics["cold_wall_ms"] ?? Number.NaN, 9_000, subject)
      assert.isAbove(metrics["heap_peak_mb"] ?? Number.NaN, 1, subject)
      assert.isAtLeast(metrics["peak_rss_mb"] ?? Number.NaN, metrics["heap_peak_mb"] ?? Number.NaN, subject)
      assert.isBelow(metrics["peak_rss_mb"] ?? Number.NaN, 1_000, subject)
    }
    assert.match(stderr, /heap_peak: the most that V8's heap had in use/)
  }, 240_000)

  it("measures a run on a stored history of 10,000 items in each store", async () => {
    const { code, stderr, stdout } = await start([
      "--only",
      "history",
      "--subjects",
      "agent-layers,floor",
      "--repetitions",
      "1",
      "--no-install",
      "--quick",
      "--json"
    ]).ended
    assert.strictEqual(code, 0, stderr)
    const result = JSON.parse(stdout) as Record<string, Record<string, Record<string, number>>>
    const metricsOf = (store: string) =>
      ["item_us", "empty_turn_us", "stored_turn_us", "turn_growth"].map((name) => `${store}_${name}`)
    const metrics = result["history"]?.["agent-layers"] ?? {}
    assert.deepStrictEqual(Object.keys(metrics), [...metricsOf("memory"), ...metricsOf("sqlite")])
    assert.deepStrictEqual(Object.keys(result["history"]?.["floor"] ?? {}), metricsOf("memory"))
    for (const store of ["memory", "sqlite"]) {
      assert.isAbove(metrics[`${store}_empty_turn_us`] ?? Number.NaN, 0)
      assert.isBelow(metrics[`${store}_item_us`] ?? Number.NaN, 300)
      // A copy of 10,000 items a turn, however cheap, would show only in real measurements; parsing them would here.
      assert.isBelow(metrics[`${store}_turn_growth`] ?? Number.NaN, 30)
    }
  }, 240_000)

  it("measures the time to the first answer, and bundles nothing where there is no esbuild", async () => {
    const { code, stderr, stdout } = await start([
      "--only",
      "start",
      "--subjects",
      "agent-layers,floor",
      "--repetitions",
      "1",
      "--no-install",
      "--quick",
      "--json"
    ]).ended
    assert.strictEqual(code, 0, stderr)
    const { start: { floor = {}, "agent-layers": own = {} } = {} } = JSON.parse(stdout) as Record<
      string,
      Record<string, Record<string, number>>
    >
    assert.deepStrictEqual(Object.keys(own), ["unbundled_ms"])
    assert.isAbove(floor["unbundled_ms"] ?? Number.NaN, 5)
    assert.isAbove(own["unbundled_ms"] ?? Number.NaN, floor["unbundled_ms"] ?? Number.NaN)
  }, 240_000)

  it("starts the agent that examples/hello.ts has", () => {
    const imports = (path: string) =>
      readFileSync(join(root, path), "utf8").split("\n").filter((line) => line.startsWith("import "))
    assert.deepStrictEqual(imports("test/bench/subjects/hello/agent-layers.js"), imports("examples/hello.ts"))
  })

  it("refuses what it does not know with exit code 2", async () => {
    for (const args of [["--colour"], ["--only", "turns"], ["--repetitions", "0"], ["turn"]]) {
      const { code, stderr, stdout } = await start(args).ended
      assert.strictEqual(code, 2, args.join(" "))
      assert.strictEqual(stdout, "")
      assert.include(stderr, "Usage: npm run bench")
    }
  }, 30_000)

  it("explains itself", async () => {
    const { code, stdout } = await start(["--help"]).ended
    assert.strictEqual(code, 0)
    assert.include(stdout, "--no-install")
    assert.match(stdout, /concurrent +1,000 runs of 3 turns/)
    assert.match(stdout, /history +a run on a stored conversation of 10,000 items/)
    assert.match(stdout, /start +milliseconds from the start of a process/)
  }, 30_000)

  it.skipIf(process.platform !== "linux")("stops the process it measures in when it is interrupted", async () => {
    const { child, ended, said } = start(["--subjects", "floor", "--only", "turn", "--no-install"])
    await said(/repetition 1 of 7/)
    const children = (): string => readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim()
    await untilSo(children, (pids) => pids !== "")
    const measured = Number(children().split(" ")[0])
    child.kill("SIGINT")
    const { code, stdout } = await ended
    assert.strictEqual(code, 130)
    assert.strictEqual(stdout, "")
    const isAlive = (): boolean => {
      try {
        return !/^State:\s+Z/m.test(readFileSync(`/proc/${measured}/status`, "utf8"))
      } catch {
        return false
      }
    }
    await untilSo(isAlive, (isThere) => !isThere)
  }, 30_000)
})

describe("the report", () => {
  const results = {
    workload: "turn",
    subjects: ["agent-layers", "ai", "gone"],
    absent: new Set(["gone"]),
    repetitions: [
      new Map([["agent-layers", { x_us: 10, y_per_s: 300, spans: 4 }], ["ai", { x_us: 20, y_per_s: 100, spans: 8 }]]),
      new Map([["agent-layers", { x_us: 20, y_per_s: 100, spans: 4 }], ["ai", { x_us: 100, y_per_s: 100, spans: 8 }]]),
      new Map([["agent-layers", { x_us: 30, y_per_s: 200, spans: 4 }], ["ai", { x_us: 30, y_per_s: 400, spans: 8 }]])
    ]
  }

  it("takes ratios within a repetition, above 1 where the subject is slower", () => {
    const lines = toTable(results).split("\n").map((line) => line.replace(/ {2,}/g, " | ").trim())
    assert.include(lines, "x_us | agent-layers | 20.0 [10.0-30.0]")
    assert.include(lines, "| ai | 30.0 [20.0-100] | 2 [1-5]")
    assert.include(lines, "| ai | 100 [100-400] | 1 [0.5-3]")
    assert.include(lines, "| ai | 8 [8-8]")
    assert.include(lines, "| gone | absent")
  })

  it("gives medians as JSON, and no metrics for a subject that is absent", () => {
    assert.deepStrictEqual(toJson([results]), {
      turn: {
        "agent-layers": { x_us: 20, y_per_s: 200, spans: 4 },
        ai: { x_us: 30, y_per_s: 100, spans: 8 },
        gone: {}
      }
    })
  })
})
