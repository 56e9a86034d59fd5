import { assert, describe, it } from "@effect/vitest"
import * as McpInProcess from "agent-layers/layers/mcp/McpInProcess"
import * as McpServerLaws from "agent-layers/services/laws/McpServerLaws"
import * as McpServer from "agent-layers/services/McpServer"
import { Context, Effect, Layer, Schema } from "effect"
import { describeLaws } from "../../support/laws.ts"
import { toolsSubject } from "../../support/mcp/lawTools.ts"
import { sdkSubject } from "../../support/mcp/subjects.ts"

describeLaws("McpInProcess", McpServerLaws.all, toolsSubject(), {
  notShown: McpServerLaws.all.filter((law) => law.missing?.(toolsSubject()) !== undefined).map(({ name }) => name)
})
describeLaws("McpInProcess with a server of the SDK", McpServerLaws.all, sdkSubject())

class Sums extends McpServer.Service<Sums>()("sums") {}
class Start extends Context.Service<Start, number>()("test/Start") {}
class Odd extends Schema.TaggedError<Odd>()("Odd", { message: Schema.String }) {}

const add = McpInProcess.tool({
  name: "add",
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  annotations: { readOnlyHint: true },
  handler: ({ a, b }) => Effect.map(Start, (start) => ({ sum: start + a + b }))
})

const odd = McpInProcess.tool({
  name: "odd",
  parameters: Schema.Struct({}),
  handler: () => Effect.fail(new Odd({ message: "that is odd" }))
})

const dies = McpInProcess.tool({
  name: "dies",
  parameters: Schema.Struct({}),
  handler: () => Effect.die(new Error("boom"))
})

const throws: McpInProcess.Tool = {
  name: "throws",
  inputSchema: { type: "object" },
  handler: () => {
    throw new Error("thrown")
  }
}

describe("tools in this process", () => {
  const layer = McpInProcess.layer(Sums, { tools: [add, odd, dies, throws] }).pipe(
    Layer.provide(Layer.succeed(Start, 40))
  )

  it.layer(layer)((it) => {
    it.effect("have a schema, their requirements, and structured content", () =>
      Effect.gen(function*() {
        const sums = yield* Sums
        const [listed] = yield* sums.listTools
        assert.strictEqual(listed?.description, "Adds")
        assert.deepStrictEqual(listed?.inputSchema["required"], ["a", "b"])
        assert.deepStrictEqual(yield* sums.callTool("add", { a: 1, b: 1 }), {
          content: [{ type: "input_text", text: `{"sum":42}` }],
          structuredContent: { sum: 42 },
          isError: false
        })
      }))

    it.effect("tell the model of arguments that are not right, and of failures", () =>
      Effect.gen(function*() {
        const sums = yield* Sums
        const wrong = yield* sums.callTool("add", { a: "1" })
        assert.isTrue(wrong.isError)
        assert.match(wrong.content[0]?.text ?? "", /not right.*a/s)
        const failed = yield* sums.callTool("odd", {})
        assert.deepStrictEqual(failed, { content: [{ type: "input_text", text: "that is odd" }], isError: true })
      }))

    it.effect("that die or throw fail with Protocol and the defect", () =>
      Effect.gen(function*() {
        const sums = yield* Sums
        for (const [name, text] of [["dies", "boom"], ["throws", "thrown"]] as const) {
          const error = yield* Effect.flip(sums.callTool(name, {}))
          assert.strictEqual(error.reason, "Protocol")
          assert.include(error.message, text)
          assert.strictEqual((error.cause as Error).message, text)
        }
      }))
  })

  it.effect("that cannot be had fail with Protocol", () =>
    Effect.gen(function*() {
      const connection = yield* McpInProcess.make("sums", { tools: Effect.fail(new Odd({ message: "no tools" })) })
      const error = yield* Effect.flip(connection.listTools)
      assert.strictEqual(error.reason, "Protocol")
      assert.include(error.message, "no tools")
    }))
})

describe("a server of the SDK in this process", () => {
  it.effect("that cannot be made is Unavailable", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(McpInProcess.make("broken", {
        server: () => {
          throw new Error("no database")
        }
      }))
      assert.strictEqual(error.reason, "Unavailable")
      assert.include(error.message, "no database")
    }))
})
