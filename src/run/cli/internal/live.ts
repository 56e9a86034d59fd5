/**
 * The laws of each service over a backend that is there: what it takes to show them from outside. What cannot be brought
 * about from outside counts as not shown. Models, tracers and MCP servers cannot be told what to answer, so that their own
 * laws need a peer; here they are asked the harmless part of them.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ExtensionKind, ExtensionRegistry, McpInstance } from "../../../services/Extension.ts"
import * as Law from "../../../services/laws/Law.ts"
import * as SandboxLaws from "../../../services/laws/SandboxLaws.ts"
import * as SessionLaws from "../../../services/laws/SessionLaws.ts"
import * as McpServer from "../../../services/McpServer.ts"
import { type ModelEvent, ModelProvider } from "../../../services/ModelProvider.ts"
import { Sandbox } from "../../../services/Sandbox.ts"
import { Session } from "../../../services/Session.ts"
import { isSessionError } from "../../../services/SessionError.ts"
import * as Tracer from "../../../services/Tracer.ts"
import { misused } from "./failure.ts"

/** One check, ready to be run. */
export interface Check {
  readonly name: string
  readonly run: (seed: string) => Effect.Effect<Law.Outcome>
}

type Registry = ExtensionRegistry["Service"]

/** Built anew each time, as another process would. */
const anew = <A, E>(layer: Layer.Layer<A, E>): Effect.Effect<Context.Context<A>, E, Scope.Scope> =>
  Effect.gen(function*() {
    const memoMap = yield* Layer.makeMemoMap
    return yield* Layer.buildWithMemoMap(Layer.fresh(layer), memoMap, yield* Effect.scope)
  })

const checksOf = <S>(laws: ReadonlyArray<Law.Law<S>>, subject: S): ReadonlyArray<Check> =>
  laws.map((law) => ({ name: law.name, run: (seed) => Law.verify(law, subject, { seed }) }))

const isUnsupported = (error: unknown): boolean => isSessionError(error) && error.reason._tag === "Unsupported"

const session = Effect.fnUntraced(function*(registry: Registry, instance: string) {
  const open = Effect.map(
    anew(registry.layer("session", instance)),
    (context) => Context.get(context, Session)
  )
  const one = yield* open
  const prefix = `laws-${(yield* Random.nextIntBetween(0, 0xffffffff)).toString(16).padStart(8, "0")}/`
  // What the laws leave behind goes with the check.
  yield* Effect.addFinalizer(() =>
    one.capabilities.list
      ? Stream.runForEach(one.conversations({ prefix }), ({ id }) => one.clear(id)).pipe(Effect.ignore)
      : Effect.void
  )
  const lacks: Array<"popItem" | "clear" | "records"> = []
  const probe = `${prefix}probe`
  const probes = {
    popItem: Effect.asVoid(one.popItem(probe)),
    clear: one.clear(probe),
    records: Stream.runDrain(one.records(probe))
  } as const
  for (const name of ["popItem", "clear", "records"] as const) {
    const error = yield* Effect.flip(probes[name]).pipe(Effect.orElseSucceed(() => undefined))
    if (isUnsupported(error)) lacks.push(name)
  }
  yield* one.saveItems(`${prefix}shared`, [{ type: "message", role: "user", content: "Is it there?" }])
  const canReopen = yield* Effect.scoped(
    Effect.flatMap(open, (other) => other.loadItems(`${prefix}shared`)).pipe(
      Effect.map(({ items }) => items.length > 0)
    )
  )
  return checksOf(SessionLaws.all, { open, capabilities: one.capabilities, canReopen, lacks, prefix })
})

const sandbox = Effect.fnUntraced(function*(registry: Registry, instance: string) {
  const open = Effect.map(
    anew(registry.layer("sandbox", instance)),
    (context) => Context.get(context, Sandbox)
  )
  const one = yield* open
  const fs = yield* FileSystem.FileSystem
  const file = yield* fs.makeTempFileScoped({ prefix: "agent-layers-laws-" })
  const content = `seen-${yield* Random.nextIntBetween(0, 0xffffffff)}`
  yield* fs.writeFileString(file, content)
  return checksOf(SandboxLaws.all, {
    open,
    guarantees: one.guarantees,
    host: { file: { path: file, content }, pid: process.pid },
    // A backend in memory has no programs to run.
    hasShell: one.backend !== "virtual"
  })
})

const question = { input: "Answer with the one word: ready" } as const

const completed = (events: ReadonlyArray<ModelEvent>) => events.filter(({ _tag }) => _tag === "Completed")

const model = (registry: Registry, instance: string) => {
  const open = Effect.flatMap(
    anew(registry.layer("model", instance)),
    (context) => Context.get(context, ModelProvider).getModel()
  )
  const laws: ReadonlyArray<Law.Law<typeof open>> = [
    {
      name: "a provider has a default model",
      check: (open) => Effect.asVoid(open)
    },
    {
      name: "respond answers with at least one item, and is complete",
      check: (open) =>
        Effect.gen(function*() {
          const response = yield* (yield* open).respond(question)
          yield* Law.holds("respond: output", "at least one item", response.output.length > 0, response.output.length)
          yield* Law.equal("respond: status", response.status, "completed")
        })
    },
    {
      name: "a stream ends with exactly one Completed, as its last event",
      check: (open) =>
        Effect.gen(function*() {
          const events = yield* Stream.runCollect((yield* open).stream(question))
          yield* Law.equal("stream: number of Completed", completed(events).length, 1)
          yield* Law.equal("stream: the last event", events.at(-1)?._tag, "Completed")
        })
    },
    {
      name: "leaving a stream early is no failure",
      check: (open) =>
        Effect.gen(function*() {
          const events = yield* Stream.runCollect(Stream.take((yield* open).stream(question), 1))
          yield* Law.equal("stream: events taken", events.length, 1)
        })
    }
  ]
  return checksOf(laws, open)
}

const mcp = (registry: Registry, instance: string) => {
  const server = McpServer.Service<McpInstance>()(instance)
  const open = Effect.map(
    anew(registry.layer("mcp", instance)),
    (context) => Context.get(context as Context.Context<McpInstance>, server)
  )
  const laws: ReadonlyArray<Law.Law<typeof open>> = [
    {
      name: "a connection lists its tools, again and again the same",
      check: (open) =>
        Effect.gen(function*() {
          const connection = yield* open
          const first = yield* connection.listTools
          const second = yield* connection.listTools
          yield* Law.equal("listTools twice: names", second.map(({ name }) => name), first.map(({ name }) => name))
        })
    },
    {
      name: "no two tools of a server have one name",
      check: (open) =>
        Effect.gen(function*() {
          const names = (yield* (yield* open).listTools).map(({ name }) => name)
          yield* Law.equal("listTools: different names", new Set(names).size, names.length)
        })
    },
    {
      name: "a tool that is not there cannot be called, and the connection goes on",
      check: (open) =>
        Effect.gen(function*() {
          const connection = yield* open
          const result = yield* Effect.result(connection.callTool("law_no_such_tool", {}))
          const isRefused = result._tag === "Failure" || result.success.isError === true
          yield* Law.holds("callTool of an unknown tool", "a failure, or a result that says so", isRefused, result)
          yield* connection.listTools
        })
    }
  ]
  return checksOf(laws, open)
}

const tracer = (registry: Registry, instance: string) => {
  const open = anew(registry.layer("tracer", instance))
  const run = (effect: Effect.Effect<unknown, string>) =>
    Tracer.withSpan(effect, () => ({ _tag: "Agent", agent: "laws" }) as const, undefined, {
      trace: { workflowName: "laws" }
    })
  const laws: ReadonlyArray<Law.Law<typeof open>> = [
    {
      name: "a run that is traced gives what it gives without",
      check: (open) =>
        Effect.gen(function*() {
          const context = yield* open
          const value = yield* Effect.provideContext(run(Effect.succeed(42)), context)
          yield* Law.equal("a span around a success", value, 42)
          const error = yield* Effect.flip(Effect.provideContext(run(Effect.fail("no")), context))
          yield* Law.equal("a span around a failure", error, "no")
        })
    },
    {
      name: "a flush ends, and so does closing the Layer",
      check: (open) =>
        Effect.gen(function*() {
          const done = yield* Effect.scoped(Effect.gen(function*() {
            const context = yield* open
            yield* Effect.provideContext(run(Effect.void), context)
            yield* Effect.provideContext(Effect.flatMap(Tracer.Tracer, ({ flush }) => flush), context)
          })).pipe(Effect.timeoutOption("30 seconds"))
          yield* Law.equal("flush and close: an end within 30 seconds", done._tag, "Some")
        })
    }
  ]
  return checksOf(laws, open)
}

/** The checks of a configured service. */
export const checks = (registry: Registry, kind: ExtensionKind, instance: string) => {
  switch (kind) {
    case "session":
      return session(registry, instance)
    case "sandbox":
      return sandbox(registry, instance)
    case "model":
      return Effect.sync(() => model(registry, instance))
    case "mcp":
      return Effect.sync(() => mcp(registry, instance))
    case "tracer":
      return Effect.sync(() => tracer(registry, instance))
    case "tool":
      return Effect.fail(misused("Tools have no laws", "Check what they stand on: agent-layers check sandbox"))
  }
}
