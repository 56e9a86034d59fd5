import { assert, describe, it } from "@effect/vitest"
import * as Laws from "agent-layers/services/laws/Law"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import { type McpConnection, McpError } from "agent-layers/services/McpServer"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { sdkSubject } from "../support/mcp/subjects.ts"

type Call = McpConnection["callTool"]

interface Double {
  readonly how: string
  readonly breaks: (
    subject: McpServerLaws.McpServerSubject
  ) => McpServerLaws.McpServerSubject
}

const opening = (
  change: (
    connection: McpConnection,
    subject: McpServerLaws.McpServerSubject
  ) => Effect.Effect<Partial<McpConnection>, unknown, Scope.Scope>
): Double["breaks"] =>
(subject) => ({
  ...subject,
  open: Effect.flatMap(
    subject.open,
    (connection) => Effect.map(change(connection, subject), (changed) => ({ ...connection, ...changed }))
  )
})

const changing = (change: (connection: McpConnection) => Partial<McpConnection>): Double["breaks"] =>
  opening((connection) => Effect.succeed(change(connection)))

const calling = (change: (call: Call) => Call): Double["breaks"] =>
  changing(({ callTool }) => ({ callTool: change(callTool) }))

const failing = (reason: McpError["reason"]) =>
  Effect.fail(new McpError({ server: "law", operation: "callTool", reason, description: "broken on purpose" }))

/** Whose Scope ends nothing. */
const immortal: Double["breaks"] = (subject) => {
  const scope = Scope.makeUnsafe()
  return { ...subject, open: Scope.provide(subject.open, scope) }
}

const doubles: Readonly<Record<string, Double>> = {
  "all tools are listed, with description, input schema and annotations, in the server's order": {
    how: "asks for one page only",
    breaks: changing(({ listTools }) => ({ listTools: Effect.map(listTools, (tools) => tools.slice(0, 3)) }))
  },
  "what is done to a listing changes no later one": {
    how: "hands out what it keeps",
    breaks: opening(({ listTools }) =>
      Effect.map(listTools, (tools) => {
        const kept = structuredClone(tools)
        return { listTools: Effect.succeed(kept) }
      })
    )
  },
  "a change of the tools is announced, and the next listing has it": {
    how: "keeps its listing for ever",
    breaks: opening(({ listTools }) => Effect.map(listTools, (tools) => ({ listTools: Effect.succeed(tools) })))
  },
  "a call gives what the tool answers": {
    how: "gives text parts in the protocol's form",
    breaks: calling((call) => (name, arguments_) =>
      Effect.map(call(name, arguments_), (result) => ({
        ...result,
        content: result.content.map((part) => ({ ...part, type: "text" }))
      }))
    )
  },
  "arguments arrive as they were given: unicode, nesting, null, a megabyte": {
    how: "rounds numbers",
    breaks: calling((call) => (name, arguments_) =>
      call(
        name,
        JSON.parse(
          JSON.stringify(arguments_ ?? {}, (_, value) => typeof value === "number" ? Math.round(value) : value)
        )
      )
    )
  },
  "no arguments are an empty object, and what is no object is a result that says so": {
    how: "takes anything for an object",
    breaks: calling((call) => (name, arguments_) => call(name, Object(arguments_ ?? {})))
  },
  "a tool that failed is a result that says so, and no failure": {
    how: "fails where the tool does",
    breaks: calling((call) => (name, arguments_) =>
      Effect.flatMap(call(name, arguments_), (result) => result.isError ? failing("Protocol") : Effect.succeed(result))
    )
  },
  "text, images, sound, resources and links become parts that models take": {
    how: "drops what is no text",
    breaks: calling((call) => (name, arguments_) =>
      Effect.map(call(name, arguments_), (result) => ({
        ...result,
        content: result.content.filter(({ type }) => type === "input_text")
      }))
    )
  },
  "a tool that the server does not have is UnknownTool, and the connection goes on": {
    how: "takes the server's words for a result",
    breaks: calling((call) => (name, arguments_) =>
      Effect.catch(call(name, arguments_), () => Effect.succeed({ content: [], isError: true }))
    )
  },
  "fifty calls at once get each its own answer": {
    how: "gives everybody the last answer",
    breaks: calling((call) => {
      let last: Effect.Success<ReturnType<Call>> | undefined
      return (name, arguments_) =>
        Effect.flatMap(call(name, arguments_), (result) => {
          last = result
          return Effect.as(Effect.sleep("10 millis"), last).pipe(Effect.map(() => last!))
        })
    })
  },
  "an interrupted call is cancelled at the server, and no other": {
    how: "only stops waiting",
    breaks: opening(({ callTool }) =>
      Effect.map(Effect.scope, (scope) => ({
        callTool: (name: string, arguments_: unknown) =>
          Effect.flatMap(Effect.forkIn(callTool(name, arguments_), scope, { startImmediately: true }), Fiber.join)
      }))
    )
  },
  "an error says which server and which operation": {
    how: "calls every operation the same",
    breaks: calling((call) => (name, arguments_) =>
      Effect.mapError(
        call(name, arguments_),
        ({ description, reason }) => new McpError({ server: "server", operation: "request", reason, description })
      )
    )
  },
  "a connection that ends fails the calls under way with Disconnected, and the next call has another": {
    how: "waits for an answer that never comes",
    breaks: calling((call) => (name, arguments_) =>
      Effect.catch(
        call(name, arguments_),
        (error) => error.reason === "Disconnected" ? Effect.never : Effect.fail(error)
      )
    )
  },
  "a connection that ended unused is made anew by whoever comes first, for all": {
    how: "has each caller connect",
    breaks: opening((connection, subject) =>
      Effect.map(Effect.scope, (scope) => {
        let count = 0
        return {
          callTool: (name: string, arguments_: unknown) =>
            (count++ % 2 === 0
              ? Effect.succeed(connection)
              : Effect.orDie(Scope.provide(subject.open, scope))).pipe(
                Effect.flatMap(({ callTool }) => callTool(name, arguments_))
              )
        }
      })
    )
  },
  "when the scope closes, calls under way fail, and so do later ones": {
    how: "outlives its Scope",
    breaks: immortal
  },
  "when the scope closes, nothing of the connection is left": {
    how: "outlives its Scope",
    breaks: immortal
  },
  "two connections are two: one can close and the other goes on": {
    how: "ends all with one",
    breaks: (subject) => ({
      ...subject,
      open: Effect.gen(function*() {
        const inner = yield* Scope.make()
        scopes.push(inner)
        yield* Effect.addFinalizer(() => Effect.forEach(scopes, (scope) => Scope.close(scope, Exit.void)))
        return yield* Scope.provide(subject.open, inner)
      })
    })
  }
}

const scopes: Array<Scope.Closeable> = []

describe("each law of an MCP server is broken by a connection that", () => {
  it("has a double here", () => {
    assert.deepStrictEqual(Object.keys(doubles).toSorted(), McpServerLaws.all.map(({ name }) => name).toSorted())
  })

  for (const law of McpServerLaws.all) {
    const double = doubles[law.name]
    if (double === undefined) continue
    it.live(`${double.how}: ${law.name}`, () =>
      Effect.gen(function*() {
        const outcome = yield* Laws.verify(law, double.breaks(sdkSubject()), { patience: "1 second" })
        assert.strictEqual(outcome._tag, "Broken", law.name)
        if (outcome._tag === "Broken") {
          assert.include(outcome.report, law.name)
          assert.match(outcome.report, /expected:/)
        }
      }), { timeout: 30_000 })
  }

  it.live(
    "never announces: a change of the tools is announced, and the next listing has it",
    () =>
      Effect.gen(function*() {
        const law = McpServerLaws.all.find(({ name }) => name.startsWith("a change of the tools"))!
        const silent = changing(() => ({ toolsChanged: Stream.never }))
        assert.strictEqual((yield* Laws.verify(law, silent(sdkSubject()), { patience: "1 second" }))._tag, "Broken")
        const excused = { ...sdkSubject(), cannot: ["announcements"] as const }
        assert.strictEqual((yield* Laws.verify(law, excused))._tag, "NotShown")
      }),
    { timeout: 30_000 }
  )

  it("is not shown where the subject cannot do it", () => {
    const { open } = sdkSubject()
    const missing = McpServerLaws.all.filter((law) => law.missing?.({ open }) !== undefined)
    assert.strictEqual(missing.length, 3)
  })
})
