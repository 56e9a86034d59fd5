/**
 * What every Layer that records traces keeps, as runnable checks: processors and exporters, over whatever they write
 * to. A subject opens the Layer and reads back what arrived; what it cannot show it lists in `cannot`.
 *
 * The laws look for spans by the names they gave them, so that a subject may read them out of a text.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Tracer from "../Tracer.ts"
import * as Usage from "../Usage.ts"
import type { Seen, Subject } from "./internal/tracerSubject.ts"
import {
  canary,
  dying,
  flush,
  flushed,
  law,
  LawFailure,
  letters,
  named,
  nothing,
  once,
  only,
  opening,
  parallel,
  run,
  span,
  stoppedClock,
  times,
  trace,
  tree
} from "./internal/tracerSubject.ts"
import * as Law from "./Law.ts"

export type { Ability, Opened, Seen, Subject } from "./internal/tracerSubject.ts"

export { fromLayer } from "./internal/tracerSubject.ts"

/**
 * Every law of a Layer that records traces.
 *
 * @category laws
 * @since 0.1.0
 */
export const all: ReadonlyArray<Law.Law<Subject>> = [
  law(
    "each span arrives once",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        yield* run(opened, parallel)
        yield* once("a trace of 11 spans", yield* flushed(opened), tree)
        yield* run(opened, trace("root-again", span("child-again", Effect.void)))
        yield* once("the same and a second trace", yield* flushed(opened), [...tree, "root-again", "child-again"])
      })
    )
  ),

  law(
    "a span arrives when it has ended, children before their parent",
    ["order"],
    opening((opened) =>
      Effect.gen(function*() {
        let during: ReadonlyArray<Seen> = []
        yield* run(
          opened,
          trace(
            "root-law",
            Effect.andThen(
              span("parent-law", Effect.andThen(span("first-law", Effect.void), span("second-law", Effect.void))),
              Effect.flatMap(flushed(opened), (seen) =>
                Effect.sync(() => {
                  during = seen
                }))
            )
          )
        )
        yield* Law.equal("spans in sight before the root ended", named(during, "root-law").length, 0)
        const seen = yield* flushed(opened)
        const names = ["first-law", "second-law", "parent-law", "root-law"]
        yield* Law.equal(
          "order of arrival",
          seen.map((one) => names.find((name) => one.name.includes(name))),
          names
        )
      })
    )
  ),

  law(
    "a failure is recorded with its tag and message, and an interruption is none",
    ["content"],
    opening((opened) =>
      Effect.gen(function*() {
        const failure = new LawFailure({ description: "no such file" })
        yield* run(
          opened,
          trace(
            "root-law",
            Effect.gen(function*() {
              yield* Effect.exit(span("typed-law", Effect.fail(failure)))
              yield* Effect.exit(span("defect-law", Effect.die(new TypeError("not a function"))))
              yield* Effect.exit(span("stopped-law", Effect.interrupt))
              yield* span("good-law", Effect.void)
            })
          )
        )
        const seen = yield* flushed(opened)
        for (
          const [name, outcome, says] of [
            ["typed-law", "failed", ["LawFailure", "no such file"]],
            ["defect-law", "failed", ["TypeError", "not a function"]],
            ["stopped-law", "interrupted", []],
            ["good-law", "succeeded", []],
            ["root-law", "succeeded", []]
          ] as const
        ) {
          const one = yield* only("spans that end in different ways", seen, name)
          yield* Law.equal(`outcome of ${name}`, one.outcome, outcome)
          for (const word of says) {
            yield* Law.holds(`error of ${name}`, `to contain ${word}`, one.text.includes(word), one.text)
          }
        }
      })
    )
  ),

  law(
    "what a run does is the same, whether it is traced or not",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        const failure = new LawFailure({ description: "mine" })
        for (
          const [name, effect] of [
            ["success", Effect.succeed<unknown>(1)],
            ["failure", Effect.fail(failure)],
            ["defect", Effect.die("defect")]
          ] as const
        ) {
          const exit: Exit.Exit<unknown, unknown> = yield* run(opened, trace("root-law", span("child-law", effect)))
          yield* Law.equal(`exit of a traced ${name}`, exit, yield* Effect.exit<unknown, unknown, never>(effect))
        }
      })
    )
  ),

  law(
    "a run that is interrupted ends every span, as interrupted",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(
          run(opened, trace("root-law", span("parent-law", span("child-law", Effect.never)))),
          { startImmediately: true }
        )
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        const seen = yield* flushed(opened)
        const names = ["root-law", "parent-law", "child-law"]
        yield* once("an interrupted run", seen, names)
        for (const name of names) {
          yield* Law.equal(`outcome of ${name}`, (yield* only("an interrupted run", seen, name)).outcome, "interrupted")
        }
      })
    )
  ),

  law(
    "children keep their parent, also where parents and children run at once",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        yield* run(opened, parallel)
        const seen = yield* flushed(opened)
        for (const side of ["left", "right"]) {
          const parent = yield* only("two parents at once", seen, `parent-${side}`)
          yield* Law.holds(
            `parent of ${parent.name}`,
            "root-law",
            parent.parent?.includes("root-law") === true,
            parent.parent
          )
          for (const letter of letters) {
            const child = yield* only("children at once", seen, `${letter}-of-${side}`)
            yield* Law.holds(
              `parent of ${child.name}`,
              parent.name,
              child.parent?.includes(`parent-${side}`) === true,
              child.parent
            )
          }
        }
      })
    )
  ),

  law(
    "a trace joins the caller's span",
    ["ids"],
    opening((opened) =>
      Effect.gen(function*() {
        const caller = yield* Effect.makeSpan("caller")
        yield* run(opened, Effect.withParentSpan(trace("root-law", span("child-law", Effect.void)), caller))
        const seen = yield* flushed(opened)
        const root = yield* only("a trace in the caller's span", seen, "root-law")
        const child = yield* only("a trace in the caller's span", seen, "child-law")
        yield* Law.equal("parent id of the first span", root.parentId, caller.spanId)
        yield* Law.equal("trace ids", [root.traceId, child.traceId], [caller.traceId, caller.traceId])
      })
    )
  ),

  law(
    "a trace says its name, group and metadata, and a run inside a run belongs to it",
    ["traces"],
    (subject) =>
      Effect.gen(function*() {
        const opened = yield* subject.open(nothing)
        const fields = { groupId: "group-law", metadata: { key: "value" } }
        yield* run(opened, trace("outer-law", span("child-law", trace("inner-law", Effect.void)), fields))
        yield* flush(opened)
        const traces = (yield* opened.traces!).map(({ groupId, metadata, workflowName }) => ({
          workflowName,
          groupId,
          metadata
        }))
        yield* Law.equal("traces that ended", traces, [{ workflowName: "outer-law", ...fields }])
      })
  ),

  law(
    "two runs in one span of the caller are two traces",
    ["traces"],
    opening((opened) =>
      Effect.gen(function*() {
        const caller = yield* Effect.makeSpan("caller")
        const both = Effect.forEach(["one-law", "two-law"], (name) =>
          trace(name, span(`child-${name}`, Effect.yieldNow)), {
          concurrency: 2
        })
        yield* run(opened, Effect.withParentSpan(both, caller))
        yield* once("two runs in one span", yield* flushed(opened), ["child-one-law", "child-two-law"])
        const names = (yield* opened.traces!).map(({ workflowName }) =>
          workflowName
        )
        yield* Law.equal("traces that ended", names.sort(), ["one-law", "two-law"])
      })
    )
  ),

  law(
    "content is left out of input, output and error where IncludeContent is false",
    [],
    (subject) =>
      Effect.gen(function*() {
        const program = trace(
          "root-law",
          Effect.andThen(
            span("said-law", Effect.void, { input: `in ${canary}`, output: `out ${canary}` }),
            Effect.exit(span("failed-law", Effect.fail(new LawFailure({ description: `cannot read ${canary}` }))))
          )
        )
        const opened = yield* subject.open(nothing)
        yield* run(opened, program)
        if (subject.cannot?.includes("content") !== true) {
          const said = yield* only("a span with content", yield* flushed(opened), "said-law")
          yield* Law.holds(
            "a span with content",
            "input and output",
            said.text.includes(`in ${canary}`) && said.text.includes(`out ${canary}`),
            said.text
          )
        }
        const before = (yield* flushed(opened)).length
        yield* run(opened, Effect.provideService(program, Tracer.IncludeContent, false))
        const seen = (yield* flushed(opened)).slice(before)
        yield* once("spans without content", seen, ["root-law", "said-law", "failed-law"])
        for (const one of seen) {
          yield* Law.holds(
            `${one.name}, where IncludeContent is false`,
            "no content",
            !one.text.includes(canary),
            one.text
          )
        }
        const failed = yield* only("a failed span without content", seen, "failed-law")
        yield* Law.equal("outcome of a failed span without content", failed.outcome, "failed")
        yield* Law.holds(
          "a failed span without content",
          "the tag of its error",
          failed.text.includes("LawFailure"),
          failed.text
        )
      })
  ),

  law(
    "tokens that are known at the end are recorded",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        const usage = Usage.make({ inputTokens: 4321, outputTokens: 1234 })
        yield* run(opened, trace("root-law", span("model-law", Effect.void, { usage })))
        const { text } = yield* only("a model call", yield* flushed(opened), "model-law")
        yield* Law.holds(
          "tokens of a model call",
          "4321 and 1234",
          text.includes("4321") && text.includes("1234"),
          text
        )
      })
    )
  ),

  law(
    "durations are those of the clock",
    ["times"],
    opening((opened) =>
      Effect.gen(function*() {
        const { advance, clock } = stoppedClock()
        const program = trace(
          "root-law",
          Effect.gen(function*() {
            yield* advance(5)
            yield* span("short-law", advance(20))
            yield* span("instant-law", Effect.void)
            yield* span("long-law", advance(300))
          })
        )
        yield* run(opened, Effect.provideService(program, Clock.Clock, clock))
        const seen = yield* flushed(opened)
        const names = ["short-law", "instant-law", "long-law", "root-law"]
        const took = yield* Effect.forEach(names, (name) => only("spans by a stopped clock", seen, name))
        yield* Law.equal("milliseconds of the spans", took.map(({ millis }) => millis), [20, 0, 300, 325])
      })
    )
  ),

  law(
    "a processor that dies harms neither the run nor this Layer",
    [],
    (subject) =>
      Effect.forEach(dying, (processor) =>
        Effect.gen(function*() {
          const opened = yield* subject.open(Tracer.addProcessor(processor))
          const tracer = Context.get(opened.context, Tracer.Tracer)
          yield* tracer.addProcessor({ ...processor })
          const exit = yield* run(opened, Effect.andThen(parallel, Effect.succeed("done")))
          yield* Law.equal("a run beside a processor that dies", exit, Exit.succeed("done"))
          yield* once("a run beside a processor that dies", yield* flushed(opened), tree)
        }), { discard: true }).pipe(
          // What dies here is logged, as it should be, and would bury the report.
          Effect.provideService(References.MinimumLogLevel, "None")
        )
  ),

  law(
    "two Layers both see every span",
    [],
    (subject) =>
      Effect.gen(function*() {
        const beside: Array<string> = []
        const opened = yield* subject.open(Tracer.addProcessor({
          onSpanEnd: ({ name }) =>
            Effect.sync(() => {
              beside.push(name)
            })
        }))
        yield* run(opened, parallel)
        yield* once("this Layer", yield* flushed(opened), tree)
        yield* Law.equal("number of spans at the other", beside.length, tree.length)
      })
  ),

  law(
    "nothing is dropped below capacity",
    [],
    opening((opened, subject) =>
      Effect.gen(function*() {
        const count = Math.min(subject.capacity, 2000) - 1
        const names = Array.from({ length: count }, (_, index) => `span-${index}-law`)
        yield* run(
          opened,
          trace("root-law", Effect.forEach(names, (name) => span(name, Effect.void), { discard: true }))
        )
        const seen = yield* flushed(opened)
        yield* Law.equal(`spans of ${count} and their root that arrived`, seen.length, count + 1)
        const arrived = new Set(seen.map(({ name }) => name))
        yield* Law.equal("different spans that arrived", arrived.size, count + 1)
        if (subject.cannot?.includes("dropped") !== true) {
          yield* Law.equal("dropped", yield* opened.dropped!, 0)
        }
      })
    )
  ),

  law(
    "what is dropped is counted",
    ["dropped"],
    opening((opened, subject) =>
      Effect.gen(function*() {
        const count = subject.capacity + 10
        yield* run(
          opened,
          Effect.forEach(Array.from({ length: count }), (_, index) => span(`span-${index}-law`, Effect.void), {
            discard: true
          })
        )
        const seen = (yield* flushed(opened)).length
        const dropped = yield* opened.dropped!
        yield* Law.equal("spans that arrived and spans that were dropped", seen + dropped, count)
      })
    )
  ),

  law(
    "flush delivers what has ended, and the Layer stays usable",
    [],
    opening((opened) =>
      Effect.gen(function*() {
        for (const name of ["one-law", "two-law", "three-law"]) {
          yield* run(opened, trace(name, Effect.void))
          yield* flush(opened)
          yield* flush(opened)
          yield* once(`after a flush`, yield* opened.seen, [name])
        }
      })
    )
  ),

  law(
    "it is flushed when its scope closes, and sees nothing afterwards",
    ["afterClose"],
    (subject) =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const opened = yield* Scope.provide(subject.open(nothing), scope)
        yield* run(opened, trace("before-law", Effect.void))
        yield* Scope.close(scope, Exit.void)
        const exit = yield* run(opened, Effect.as(trace("late-law", Effect.void), "done"))
        yield* Law.equal("a run in a context whose Layers are closed", exit, Exit.succeed("done"))
        const seen = yield* opened.seen
        yield* Law.equal("spans from before and after", times(["before-law", "late-law"], seen), [
          "before-law: 1",
          "late-law: 0"
        ])
      })
  )
]
