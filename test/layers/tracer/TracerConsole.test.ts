import { assert, describe, it } from "@effect/vitest"
import * as TracerConsole from "agent-layers/layers/tracer/TracerConsole"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as TracerLaws from "agent-layers/services/laws/TracerLaws"
import * as ModelError from "agent-layers/services/ModelError"
import * as Tracer from "agent-layers/services/Tracer"
import * as Usage from "agent-layers/services/Usage"
import { Console, type Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { formatMillis } from "../../../src/layers/tracer/internal/render.ts"
import { describeLaws } from "../../support/laws.ts"

const took = (text: string): number => {
  const found = /^([\d.]+)(ms|s)$/.exec(text)
  return found === null ? Number.NaN : Number(found[1]) * (found[2] === "s" ? 1000 : 1)
}

/** Reads the printed trees: a span on each line, and what was said and what failed on the lines below it. */
const parse = (text: string): ReadonlyArray<TracerLaws.Seen> => {
  const seen: Array<{ -readonly [K in keyof TracerLaws.Seen]: TracerLaws.Seen[K] }> = []
  const path: Array<string> = []
  for (const line of text.split("\n")) {
    const [, branch, rest] = /^([│├└─ ]*)(.*)$/u.exec(line)!
    const columns = /^(.*?) +\+(\S+) +(\S+)(?: {2}(.*))?$/.exec(rest!)
    if (columns === null) {
      if (seen.length > 0 && !rest!.startsWith("trace ")) seen.at(-1)!.text += rest
      continue
    }
    const [, name, , duration, notes = ""] = columns
    const depth = branch!.length / 3
    path.length = depth
    seen.push({
      name: name!,
      parent: path[depth - 1],
      outcome: notes.includes("interrupted") ? "interrupted" : notes.includes("failed") ? "failed" : "succeeded",
      text: `${name} ${notes}`,
      millis: took(duration!)
    })
    path[depth] = name!
  }
  return seen
}

const consoleSubject: TracerLaws.Subject = {
  capacity: 1000,
  cannot: ["order", "ids", "traces", "dropped"],
  open: (beside) =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const capturing: Console.Console = { ...console, log: (line: string) => lines.push(line) }
      const context = yield* Layer.build(
        Layer.mergeAll(
          beside,
          TracerConsole.layer({ includeContent: true, width: 300 }),
          Layer.succeed(Console.Console, capturing)
        )
      )
      return {
        context: context as Context.Context<never>,
        seen: Effect.sync(() => parse(lines.join("\n")))
      }
    })
}

describeLaws("TracerConsole", TracerLaws.all, consoleSubject, {
  notShown: TracerLaws.all.filter((law) => law.missing?.(consoleSubject) !== undefined).map(({ name }) => name)
})

describe("TracerConsole", () => {
  it("cannot show only what a printed tree has not", () => {
    assert.deepStrictEqual(
      TracerLaws.all.filter((law) => law.missing?.(consoleSubject) !== undefined).map(({ name }) => name),
      [
        "a span arrives when it has ended, children before their parent",
        "a trace joins the caller's span",
        "a trace says its name, group and metadata, and a run inside a run belongs to it",
        "two runs in one span of the caller are two traces",
        "what is dropped is counted"
      ]
    )
  })
})

const capture = (options?: TracerConsole.Options) => {
  const out: Array<string> = []
  const err: Array<string> = []
  const capturing: Console.Console = {
    ...console,
    log: (line: string) => out.push(line),
    error: (line: string) => err.push(line)
  }
  return {
    out,
    err,
    layer: Layer.provideMerge(TracerConsole.layer(options), Layer.succeed(Console.Console, capturing))
  }
}

const model = <A, E>(effect: Effect.Effect<A, E>, usage?: Usage.Usage) =>
  Tracer.withSpan(
    effect,
    () =>
      ({
        _tag: "Generation",
        provider: "openai",
        model: "gpt-5",
        input: [{ role: "user", content: "hi\nthere" }]
      }) as const,
    () => ({ output: "said", ...(usage === undefined ? {} : { usage }) })
  )

const tool = <A, E>(name: string, effect: Effect.Effect<A, E>, end?: { readonly isFailure: boolean }) =>
  Tracer.withSpan(
    effect,
    () => ({ _tag: "Tool", name, callId: name, input: `{"of":"${name}"}` }) as const,
    () => end ?? {}
  )

const turn = <A, E>(turn: number, effect: Effect.Effect<A, E>) =>
  Tracer.withSpan(effect, () => ({ _tag: "Turn", agent: "a", turn }) as const)

const agent = <A, E>(name: string, effect: Effect.Effect<A, E>, trace?: Partial<Tracer.Trace>) =>
  Tracer.withSpan(
    effect,
    () => ({ _tag: "Agent", agent: name }) as const,
    () => ({ usage: Usage.make({ inputTokens: 310, outputTokens: 41, cachedTokens: 50, reasoningTokens: 7 }) }),
    { trace: { workflowName: name, ...trace } }
  )

/** Runs under the test's clock, which is moved on until the program has ended. */
const run = <A, E>(program: Effect.Effect<A, E>, layer: Layer.Layer<never>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(Effect.provide(program, layer)), { startImmediately: true })
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const analysis = agent(
  "analyst",
  Effect.gen(function*() {
    yield* turn(
      1,
      Effect.andThen(
        model(Effect.sleep(610), Usage.make({ inputTokens: 120, outputTokens: 20 })),
        Effect.all([tool("list_files", Effect.sleep(80)), tool("read_file", Effect.sleep(198))], { concurrency: 2 })
      )
    )
    yield* turn(2, model(Effect.sleep(1439), Usage.make({ inputTokens: 190, outputTokens: 21 })))
  }),
  { groupId: "thread-1", metadata: { user: "u" } }
)

describe("TracerConsole", () => {
  it.effect("prints a trace as a tree when it ends", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      yield* run(analysis, layer)
      assert.lengthOf(out, 1)
      assert.deepStrictEqual(out[0]!.split("\n"), [
        "trace analyst  group thread-1  user=u",
        "agent analyst          +0.0ms  2.25s  310 (50 cached) in, 41 (7 reasoning) out",
        "├─ turn 1              +0.0ms  808ms",
        "│  ├─ model gpt-5      +0.0ms  610ms  120 in, 20 out",
        "│  ├─ tool list_files  +610ms   80ms",
        "│  └─ tool read_file   +610ms  198ms",
        "└─ turn 2              +808ms  1.44s",
        "   └─ model gpt-5      +808ms  1.44s  190 in, 21 out"
      ])
    }))

  it.effect("shows what went wrong where it did, and what was stopped", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      const failure = new ModelError.ModelError({
        provider: "openai",
        reason: new ModelError.Overloaded({ description: "too\nbusy" })
      })
      yield* run(
        agent(
          "a",
          turn(
            1,
            Effect.all([
              Effect.exit(tool("mended", Effect.void, { isFailure: true })),
              Effect.exit(tool("stopped", Effect.interrupt)),
              Tracer.withSpan(
                Effect.void,
                () => ({ _tag: "Guardrail", name: "pii" }) as const,
                () => ({ isTripped: true })
              ),
              model(Effect.fail(failure))
            ])
          )
        ),
        layer
      )
      assert.deepStrictEqual(out[0]!.split("\n"), [
        "trace a",
        "agent a              +0.0ms  0.0ms  310 (50 cached) in, 41 (7 reasoning) out  failed",
        "└─ turn 1            +0.0ms  0.0ms  failed",
        "   ├─ tool mended    +0.0ms  0.0ms  told the model of a failure",
        "   ├─ tool stopped   +0.0ms  0.0ms  interrupted",
        "   ├─ guardrail pii  +0.0ms  0.0ms  tripped",
        "   └─ model gpt-5    +0.0ms  0.0ms  failed",
        "          ModelError: openai: The provider failed: too busy"
      ])
    }))

  it.effect("names spans of every kind", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      const kinds: ReadonlyArray<Tracer.SpanData> = [
        { _tag: "Handoff", from: "a", to: "b" },
        { _tag: "Mcp", server: "files", operation: "tools/call" },
        { _tag: "Sandbox", backend: "bubblewrap", operation: "exec" },
        { _tag: "Session", backend: "sqlite", operation: "saveItems" },
        { _tag: "Custom", name: "mine" }
      ]
      yield* run(agent("a", Effect.forEach(kinds, (data) => Tracer.withSpan(Effect.void, () => data))), layer)
      assert.deepStrictEqual(out[0]!.split("\n").slice(2).map((line) => line.slice(3).split("  ")[0]), [
        "handoff a -> b",
        "mcp files tools/call",
        "sandbox bubblewrap exec",
        "session sqlite saveItems",
        "mine"
      ])
    }))

  it.effect("shows content when asked, on one line each", () =>
    Effect.gen(function*() {
      const { layer, out } = capture({ includeContent: true, width: 60 })
      yield* run(agent("a", Effect.andThen(model(Effect.void), tool("t".repeat(80), Effect.void))), layer)
      assert.deepStrictEqual(out[0]!.split("\n").slice(2), [
        "├─ model gpt-5                               +0.0ms  0.0ms",
        `│      in:  [{"role":"user","content":"hi\\nthere"}]`,
        "│      out: said",
        `└─ tool ${"t".repeat(34)}…  +0.0ms  0.0ms`,
        `       in:  {"of":"${"t".repeat(40)}…`
      ])
    }))

  it.effect("shows no content that spans do not have", () =>
    Effect.gen(function*() {
      const { layer, out } = capture({ includeContent: true })
      yield* run(
        Effect.provideService(agent("a", tool("t", Effect.die(new Error("secret")))), Tracer.IncludeContent, false),
        layer
      )
      assert.notInclude(out[0], "secret")
      assert.notInclude(out[0], "in: ")
      assert.include(out[0], "Error: (left out: IncludeContent is false)")
    }))

  it.effect("lets nothing through that a terminal would obey", () =>
    Effect.gen(function*() {
      const { layer, out } = capture({ includeContent: true })
      const evil = "\u001b]0;title\u0007\u001b[2J\r\n\u009b31m\u202egnp.\u2066\u200b\u2028\ud800 ok"
      yield* run(
        agent(
          evil,
          Effect.exit(tool(evil, Effect.die(Object.assign(new Error(evil), { name: evil })))),
          { groupId: evil, metadata: { [evil]: evil } }
        ),
        layer
      )
      // oxlint-disable-next-line no-control-regex -- what must not be there
      assert.notMatch(out[0]!.replaceAll("\n", ""), /[\u0000-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2028\u2066\ud800]/)
      assert.include(
        out[0],
        "\\u001b]0;title\\u0007\\u001b[2J\\r\\n\\u009b31m\\u202egnp.\\u2066\\u200b\\u2028\\ud800 ok"
      )
      assert.lengthOf(out[0]!.split("\n"), 5)
    }))

  it.effect("keeps emoji and scripts whole", () =>
    Effect.gen(function*() {
      const { layer, out } = capture({ width: 40 })
      yield* run(agent("👩‍💻 日本語 ü", Effect.void), layer)
      assert.include(out[0], "agent 👩‍💻 日本語 ü")
      assert.doesNotThrow(() => encodeURIComponent(out[0]!))
    }))

  it.effect("makes no line wider than it may be", () =>
    Effect.gen(function*() {
      for (const width of [20, 40, 61, 100]) {
        const { layer, out } = capture({ width, includeContent: true })
        const deep = Array.from({ length: 20 }).reduce(
          (inner: Effect.Effect<void>, _, index) => turn(index, inner),
          tool("a-name-that-is-long".repeat(5), Effect.die(new Error("a message that is long ".repeat(20))))
        )
        yield* run(agent("analyst", deep, { groupId: "g".repeat(200) }), layer)
        const lines = out[0]!.split("\n")
        assert.isAbove(lines.length, 22)
        for (const line of lines) assert.isAtMost(line.length, width, line)
        if (width >= 40) {
          for (const line of lines.filter((line) => line.includes("failed"))) assert.include(line, "0.0ms")
        }
      }
    }))

  it.effect("colours only when asked", () =>
    Effect.gen(function*() {
      const plain = capture({ includeContent: true })
      const coloured = capture({ includeContent: true, colors: true })
      const program = agent("a", Effect.exit(Effect.andThen(model(Effect.void), tool("t", Effect.fail("no")))))
      yield* run(program, plain.layer)
      yield* run(program, coloured.layer)
      assert.notInclude(plain.out[0], "\u001b")
      assert.include(coloured.out[0], "\u001b[31mfailed\u001b[0m")
      // oxlint-disable-next-line no-control-regex -- colours
      assert.strictEqual(coloured.out[0]!.replaceAll(/\u001b\[\d+m/g, ""), plain.out[0])
    }))

  it.effect("counts the spans beyond its limit, and what is inside them", () =>
    Effect.gen(function*() {
      const { layer, out } = capture({ maxSpans: 3 })
      const four = Effect.forEach(["1", "2", "3", "4"], (name) => tool(name, tool(`${name}-inner`, Effect.void)))
      yield* run(agent("a", four), layer)
      assert.deepStrictEqual(out[0]!.split("\n").map((line) => line.split("  ")[0]!.trim()), [
        "trace a",
        "agent a",
        "└─ tool 1",
        "",
        "and 6 more spans"
      ])
    }))

  it.effect("prints two runs in one span of the caller apart, also at once", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      const one = agent("one", tool("of-one", Effect.sleep(50)))
      const two = agent("two", tool("of-two", Effect.sleep(100)))
      yield* run(Effect.withSpan(Effect.all([one, two], { concurrency: 2 }), "request"), layer)
      assert.lengthOf(out, 2)
      assert.include(out[0], "of-one")
      assert.notInclude(out[0], "of-two")
      assert.include(out[1], "of-two")
      assert.notInclude(out[1], "of-one")
    }))

  it.effect("leaves out what belongs to no trace, and what begins after its trace has ended", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      yield* run(tool("alone", tool("child", Effect.void)), layer)
      assert.deepStrictEqual(out, [])
      yield* run(
        Effect.gen(function*() {
          const fiber = yield* agent(
            "a",
            Effect.forkDetach(Effect.andThen(Effect.sleep(10), tool("late", Effect.void)))
          )
          yield* Fiber.join(fiber)
        }),
        layer
      )
      assert.lengthOf(out, 1)
      assert.notInclude(out[0], "late")
    }))

  it.effect("prints what is unfinished when it closes", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(layer), scope)
      const fiber = yield* Effect.forkChild(
        Effect.provideContext(
          agent("a", Effect.andThen(tool("done", Effect.void), tool("open", Effect.never))),
          context
        ),
        { startImmediately: true }
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(out[0]!.split("\n"), [
        "trace a",
        "agent a       +0.0ms         not finished",
        "├─ tool done  +0.0ms  0.0ms",
        "└─ tool open  +0.0ms         not finished"
      ])
      yield* Fiber.interrupt(fiber)
      assert.lengthOf(out, 1)
    }))

  it.effect("can leave standard output to the program", () =>
    Effect.gen(function*() {
      const { err, layer, out } = capture({ output: "stderr" })
      yield* run(agent("a", Effect.void), layer)
      assert.deepStrictEqual([out.length, err.length], [0, 1])
    }))

  it.effect("stands beside a memory: both see every span", () =>
    Effect.gen(function*() {
      const { layer, out } = capture()
      const outline = yield* Effect.gen(function*() {
        yield* agent("a", tool("t", Effect.void))
        return yield* (yield* TracerMemory.TracerMemory).outline
      }).pipe(Effect.provide(Layer.merge(layer, TracerMemory.layer)))
      assert.strictEqual(outline, "invoke_agent a\n  execute_tool t")
      assert.include(out[0], "└─ tool t")
    }))

  it("writes durations in three digits or so", () => {
    assert.deepStrictEqual(
      [-1, 0, 0.04, 0.94, 0.96, 1.4, 999.4, 999.6, 59_994, 59_996, 125_000].map(formatMillis),
      ["0.0ms", "0.0ms", "0.0ms", "0.9ms", "1ms", "1ms", "999ms", "1.00s", "59.99s", "1m00s", "2m05s"]
    )
  })
})
