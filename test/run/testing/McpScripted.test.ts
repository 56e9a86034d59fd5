import { assert, describe, it } from "@effect/vitest"
import { Agent, McpServer, Runner } from "agent-layers"
import { McpScripted, ModelScripted } from "agent-layers/testing"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"

class Files extends McpServer.Service<Files>()("files") {}
class Mail extends McpServer.Service<Mail>()("mail") {}

const defect = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "no failure"

describe("McpScripted", () => {
  it.effect("serves an agent, and tells what was called with what", () =>
    Effect.gen(function*() {
      const { items } = yield* Runner.run(Agent.make({ name: "a", mcpServers: [Files] }), "Read it")
      assert.deepStrictEqual(items.flatMap(({ output }) => output === undefined ? [] : [output]), ["hello"])
      assert.deepStrictEqual(yield* McpScripted.calls(Files), [
        { tool: "read_file", arguments: { path: "a.txt" }, outcome: "result" }
      ])
    }).pipe(Effect.provide([
      McpScripted.layer(Files, { tools: [McpScripted.tool("read_file", [McpScripted.text("hello")])] }),
      ModelScripted.layer([
        ModelScripted.toolCall("read_file", { path: "a.txt" }),
        ModelScripted.text("It says hello.")
      ])
    ])))

  it.effect("takes a step for each call: results, failed tools, failures of the server", () =>
    Effect.gen(function*() {
      const files = yield* Files
      const first = yield* Effect.flip(files.callTool("read", {}))
      assert.deepInclude(first, { reason: "Disconnected", server: "files", operation: "callTool" })
      assert.isTrue((yield* files.callTool("read", {})).isError)
      assert.deepStrictEqual((yield* files.callTool("read", {})).structuredContent, { size: 1 })
      const slow = yield* Effect.forkChild(files.callTool("read", {}), { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(slow.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(slow)).content, [{ type: "input_text", text: "late" }])
      const stuck = yield* Effect.forkChild(files.callTool("read", {}), { startImmediately: true })
      yield* TestClock.adjust("1 hour")
      yield* Fiber.interrupt(stuck)
      assert.strictEqual((yield* Effect.flip(files.callTool("rod", {}))).reason, "UnknownTool")
      assert.deepStrictEqual((yield* McpScripted.calls(Files)).map(({ outcome }) => outcome), [
        "failed",
        "failed tool",
        "result",
        "result",
        "interrupted",
        "failed"
      ])
    }).pipe(Effect.provide(McpScripted.layer(Files, {
      tools: [McpScripted.tool("read", [
        McpScripted.fail("Disconnected"),
        McpScripted.failedTool("no such file"),
        McpScripted.json({ size: 1 }),
        McpScripted.delayed("5 seconds", McpScripted.text("late")),
        McpScripted.hang
      ])]
    }))))

  it.effect("lists its tools as they are written, fails listings, and changes them", () =>
    Effect.gen(function*() {
      const files = yield* Files
      assert.strictEqual((yield* Effect.flip(files.listTools)).reason, "Unavailable")
      assert.deepStrictEqual(yield* files.listTools, [{
        name: "read",
        description: "Reads",
        inputSchema: { type: "object", properties: { path: { type: "string" } } },
        annotations: { readOnlyHint: true }
      }])
      const script = yield* McpScripted.of(Files)
      const heard = yield* Effect.forkChild(Stream.runHead(files.toolsChanged), { startImmediately: true })
      yield* Effect.yieldNow
      yield* script.setTools([McpScripted.tool("write", () => McpScripted.text("done"))])
      yield* Fiber.join(heard)
      assert.deepStrictEqual((yield* files.listTools).map(({ name }) => name), ["write"])
      assert.strictEqual(yield* script.listings, 3)
    }).pipe(Effect.provide(McpScripted.layer(Files, {
      listings: [McpScripted.fail("Unavailable")],
      tools: [McpScripted.tool("read", [], {
        description: "Reads",
        inputSchema: { type: "object", properties: { path: { type: "string" } } },
        annotations: { readOnlyHint: true }
      })]
    }))))

  it.effect("asks a function for each call, and keeps two servers apart", () =>
    Effect.gen(function*() {
      const files = yield* Files
      const mail = yield* Mail
      for (const nth of [1, 2]) {
        const { content } = yield* files.callTool("echo", { n: nth })
        assert.strictEqual(content[0]?.text, `${nth}: {"n":${nth}}`)
      }
      yield* mail.callTool("send", {})
      assert.lengthOf(yield* McpScripted.calls(Files), 2)
      assert.lengthOf(yield* McpScripted.calls(Mail), 1)
    }).pipe(Effect.provide([
      McpScripted.layer(Files, {
        tools: [McpScripted.tool("echo", (args, nth) => McpScripted.text(`${nth}: ${JSON.stringify(args)}`))]
      }),
      McpScripted.layer(Mail, { tools: [McpScripted.tool("send", [McpScripted.text("sent")])] })
    ])))

  it.effect("dies at a call that no step is for, and at the end with the steps that are left", () =>
    Effect.gen(function*() {
      const layer = McpScripted.layer(Files, {
        listings: [McpScripted.hang],
        tools: [McpScripted.tool("read", [McpScripted.text("1"), McpScripted.text("2")])]
      })
      const over = Effect.gen(function*() {
        const files = yield* Files
        for (const path of ["a", "b", "c"]) yield* files.callTool("read", { path })
      })
      assert.include(defect(yield* Effect.exit(Effect.provide(over, layer))), `call 3 of "read"`)
      const left = defect(
        yield* Effect.exit(Effect.provide(Effect.flatMap(Files, (files) => files.callTool("read", {})), layer))
      )
      assert.include(left, "a listing")
      assert.include(left, "read: 1 of 2 answers")
      const own = yield* Effect.exit(Effect.provide(Effect.andThen(Files, Effect.fail("own")), layer))
      assert.deepStrictEqual(own, Exit.fail("own"))
    }))
})
