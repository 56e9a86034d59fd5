import { assert, describe, it } from "@effect/vitest"
import * as McpFiltered from "agent-layers/layers/mcp/McpFiltered"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Context, Data, Effect, Layer, Logger } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { sdkSubject } from "../../support/mcp/subjects.ts"

const subject = sdkSubject()

describeLaws("McpFiltered that hides nothing", McpServerLaws.all, {
  ...subject,
  open: Effect.flatMap(
    subject.open,
    (connection) => McpFiltered.make(connection, { exclude: [], where: () => Effect.succeed(true) })
  )
})

class Letters extends McpServer.Service<Letters>()("letters") {}
class Broken extends Data.TaggedError("Broken")<{}> {}

const letters = ["a", "b", "c"].map((name): McpInProcess.Tool => ({
  name,
  inputSchema: { type: "object" },
  annotations: { readOnlyHint: name !== "c" },
  handler: () => Effect.succeed({ content: [{ type: "input_text", text: name }], isError: false })
}))
const base = McpInProcess.layer(Letters, { tools: letters })

const see = Effect.gen(function*() {
  const server = yield* Letters
  const listed = (yield* server.listTools).map(({ name }) => name)
  const callable: Array<string> = []
  for (const name of ["a", "b", "c"]) {
    const exit = yield* Effect.result(server.callTool(name, {}))
    if (exit._tag === "Success") callable.push(name)
    else assert.strictEqual(exit.failure.reason, "UnknownTool")
  }
  assert.deepStrictEqual(callable, listed, "what is listed is what can be called")
  return listed
})

const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel} ${String(message)}`)
  })
  return { lines, layer: Logger.layer([logger]) }
}

describe("McpFiltered", () => {
  const cases: ReadonlyArray<readonly [McpServer.ToolFilter, ReadonlyArray<string>]> = [
    [{}, ["a", "b", "c"]],
    [{ include: ["c", "a"] }, ["a", "c"]],
    [{ exclude: ["b"] }, ["a", "c"]],
    [{ include: ["a", "b"], exclude: ["b"] }, ["a"]],
    [{ include: [] }, []],
    [{ include: ["a", "c"], where: (tool) => Effect.succeed(tool.annotations?.["readOnlyHint"] === true) }, ["a"]]
  ]
  for (const [filter, expected] of cases) {
    it.effect(`${JSON.stringify(Object.keys(filter))} leaves ${JSON.stringify(expected)}`, () =>
      Effect.gen(function*() {
        const seen = yield* Effect.provide(see, Layer.provide(McpFiltered.layer(Letters, filter), base))
        assert.deepStrictEqual(seen, expected)
      }))
  }

  it.effect("warns once of a name that the server does not have", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const filtered = McpFiltered.layer(Letters, { include: ["a", "aa"], exclude: ["x"] })
      yield* Effect.provide(Effect.repeat(see, { times: 3 }), Layer.mergeAll(Layer.provide(filtered, base), layer))
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0]!, /^Warn.*"letters".*"aa", "x"/)
    }))

  it.effect("hides a tool whose filter fails, throws or dies, and says so", () =>
    Effect.gen(function*() {
      const { layer, lines } = logged()
      const filtered = McpFiltered.layer(Letters, {
        where: ({ name }) => {
          if (name === "a") throw new Error("thrown")
          return name === "b" ? Effect.fail(new Broken()) : Effect.succeed(true)
        }
      })
      const seen = yield* Effect.provide(see, Layer.mergeAll(Layer.provide(filtered, base), layer))
      assert.deepStrictEqual(seen, ["c"])
      assert.isTrue(lines.some((line) => /^Warn.*"a", which is hidden/.test(line)))
      assert.isTrue(lines.some((line) => /^Warn.*"b", which is hidden/.test(line)))
    }))

  it.effect("asks with the requirements of where it was built, and the references of who asks", () =>
    Effect.gen(function*() {
      class Allowed extends Context.Service<Allowed, ReadonlyArray<string>>()("test/Allowed") {}
      const User = Context.Reference<string>("test/User", { defaultValue: () => "nobody" })
      const filtered = McpFiltered.layer(Letters, {
        where: ({ name }) =>
          Effect.gen(function*() {
            const allowed = yield* Allowed
            return allowed.includes(name) || (yield* User) === "root"
          })
      }).pipe(Layer.provide([base, Layer.succeed(Allowed, ["b"])]))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* see, ["b"])
        assert.deepStrictEqual(yield* Effect.provideService(see, User, "root"), ["a", "b", "c"])
      }).pipe(Effect.provide(filtered))
    }))
})
