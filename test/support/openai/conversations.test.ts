import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import * as OpenAiPeer from "./OpenAiPeer.ts"

const clientOf = (peer: OpenAiPeer.OpenAiPeer) =>
  new OpenAI({ apiKey: peer.apiKey, baseURL: peer.url, maxRetries: 0, logLevel: "off" })

const refused = (run: () => Promise<unknown>) =>
  Effect.map(
    Effect.flip(Effect.tryPromise({ try: run, catch: (error) => error as InstanceType<typeof OpenAI.APIError> })),
    ({ message, status }) => [status, message] as const
  )

const texts = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ role: "user" as const, content: `${index}` }))

describe("OpenAiPeer, conversations", () => {
  it.live("keeps items in the service's own form, and lists them in pages", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const { conversations } = clientOf(peer)
      const { id } = yield* Effect.promise(() => conversations.create({ items: texts(2), metadata: { a: "b" } }))
      assert.match(id, /^conv_/)
      assert.deepStrictEqual((yield* Effect.promise(() => conversations.retrieve(id))).metadata, { a: "b" })
      const added = yield* Effect.promise(() => conversations.items.create(id, { items: texts(3) }))
      assert.deepInclude(added.data[0], { status: "completed", content: [{ type: "input_text", text: "0" }] })
      const list = (query: object) => Effect.promise(() => conversations.items.list(id, query))
      const newest = yield* list({ limit: 2 })
      assert.deepStrictEqual([newest.data.length, newest.has_more], [2, true])
      assert.strictEqual(newest.data[0]!.id, added.data[2]!.id)
      const rest = yield* list({ limit: 100, order: "asc", after: added.data[0]!.id })
      assert.deepStrictEqual(rest.data.map((item) => item.id), added.data.slice(1).map((item) => item.id))
      yield* Effect.promise(() => conversations.items.delete(added.data[0]!.id!, { conversation_id: id }))
      assert.strictEqual(peer.conversationItems(id).length, 4)
      yield* Effect.promise(() => conversations.delete(id))
      assert.deepStrictEqual((yield* refused(() => conversations.retrieve(id)))[0], 404)
    }))

  it.live("leaves out what is not asked for", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const { conversations } = clientOf(peer)
      const id = yield* peer.createConversation([
        { type: "reasoning", id: "rs_1", summary: [], encrypted_content: "gAAAAx" }
      ])
      const plain = yield* Effect.promise(() => conversations.items.list(id))
      assert.notProperty(plain.data[0], "encrypted_content")
      const whole = yield* Effect.promise(() =>
        conversations.items.list(id, { include: ["reasoning.encrypted_content"] })
      )
      assert.propertyVal(whole.data[0], "encrypted_content", "gAAAAx")
    }))

  it.live("refuses what the service refuses", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const { conversations, responses } = clientOf(peer)
      const id = yield* peer.createConversation()
      const sealed = { type: "sealed" } as never
      const cases: ReadonlyArray<readonly [() => Promise<unknown>, number, RegExp]> = [
        [() => conversations.items.create(id, { items: texts(21) }), 400, /maximum length 20/],
        [() => conversations.create({ items: texts(21) }), 400, /maximum length 20/],
        [() => conversations.items.create(id, { items: [sealed] }), 400, /items\[0\]\.type|Supported values/],
        [() => conversations.items.create("conv_none", { items: texts(1) }), 404, /not found/],
        [() => conversations.items.list(id, { limit: 101 }), 400, /limit/],
        [() => conversations.items.list(id, { after: "msg_none" }), 404, /not found/],
        [() => conversations.items.delete("msg_none", { conversation_id: id }), 404, /not found/],
        [() => conversations.delete("conv_none"), 404, /not found/],
        [() => responses.compact({ model: "gpt-5.4", input: [sealed] }), 400, /Supported values/],
        [() => responses.compact({ model: "gpt-5.4", input: "x", extra: 1 } as never), 400, /extra/],
        [
          () =>
            responses.compact({
              model: "gpt-5.4",
              input: [{ type: "function_call", call_id: "c", name: "add", arguments: "{}" }]
            }),
          400,
          /No tool output found/
        ]
      ]
      for (const [run, status, message] of cases) {
        const [got, said] = yield* refused(run)
        assert.strictEqual(got, status, said)
        assert.match(said, message)
      }
    }))

  it.live("compacts: what users said, and one item that only it can read", () =>
    Effect.gen(function*() {
      const peer = yield* OpenAiPeer.make
      const { output, usage } = yield* Effect.promise(() =>
        clientOf(peer).responses.compact({
          model: "gpt-5.4",
          input: [{ role: "user", content: "hi" }, { role: "assistant", content: "hello" }]
        })
      )
      assert.deepStrictEqual(output.map((item) => item.type), ["message", "compaction"])
      assert.isAbove(usage.total_tokens, 0)
    }))
})
