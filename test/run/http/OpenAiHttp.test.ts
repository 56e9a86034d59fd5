/** With the official client, what it is answered. */
import { assert, describe, it } from "@effect/vitest"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Handoff from "agent-layers/run/Handoff"
import * as Item from "agent-layers/services/Item"
import { Session } from "agent-layers/services/Session"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import type OpenAI from "openai"
import { zodTextFormat } from "openai/helpers/zod"
import { accumulateResponse } from "openai/lib/responses/ResponseAccumulator"
import { z } from "zod"
import { makeGate } from "../../support/gate.ts"
import { until } from "../../support/until.ts"
import { Assistant, call, rejected, served, words } from "./openAiSupport.ts"

/** Resolves with the id of the response when the first of its text has come. */
const firstDelta = (stream: ReturnType<OpenAI["responses"]["stream"]>): Promise<string> =>
  new Promise((resolve) => {
    let id = ""
    stream.on("event", (event) => {
      if (event.type === "response.created") id = event.response.id
      if (event.type === "response.output_text.delta") resolve(id)
    })
    // That it is aborted is no failure of a test.
    stream.on("error", () => undefined)
    stream.on("abort", () => undefined)
  })

/** Without what the client's helpers add. */
const sent = (value: unknown): any =>
  JSON.parse(JSON.stringify(value, (key, value) => key === "parsed" ? undefined : value))

const ask = { model: "assistant", input: "Hello?" }

const Weather = Toolkit.make(
  Tool.make("weather", { parameters: Schema.Struct({ city: Schema.String }), success: Schema.String })
)
const Sky = Weather.toLayer({
  weather: ({ city }) => city === "Oslo" ? Effect.succeed("cold") : Effect.die(new Error("no such city"))
})

/** A session that several servers share. */
const shared = Effect.map(Layer.build(Layer.fresh(SessionMemory.layer)), Context.get(Session))

/** The items that a conversation holds, as who said what. */
const contents = (session: Session["Service"], id: string) =>
  Effect.map(
    Effect.orDie(session.loadItems(id)),
    ({ items }) => items.map((item) => `${"role" in item ? item["role"] : item.type}: ${Item.text(item)}`)
  )

const itemsOf = (input: string | ReadonlyArray<Item.Item>) => typeof input === "string" ? [Item.user(input)] : input

const echo: ModelScripted.Script = ({ input }) => ModelScripted.text(`heard ${Item.text(itemsOf(input).at(-1)!)}`)

describe("OpenAiHttp", () => {
  it.live("lists agents as models", () =>
    Effect.gen(function*() {
      const { client } = yield* served({ agents: { assistant: Assistant, "support/eu": Assistant } })
      const page = yield* call(() => client.models.list())
      assert.deepStrictEqual(page.data.map(({ id, object }) => [id, object]), [
        ["assistant", "model"],
        ["support/eu", "model"]
      ])
      assert.isAbove(page.data[0]!.created, 1_700_000_000)
      assert.strictEqual((yield* call(() => client.models.retrieve("assistant"))).id, "assistant")
      assert.strictEqual((yield* call(() => client.models.retrieve("support/eu"))).id, "support/eu")
      assert.strictEqual((yield* rejected(() => client.models.retrieve("gpt-5"))).code, "model_not_found")
    }))

  describe("responses", () => {
    it.live("answer at once", () =>
      Effect.gen(function*() {
        const { client } = yield* served()
        const response = yield* call(() => client.responses.create({ ...ask, metadata: { a: "b" }, user: "ada" }))
        assert.match(response.id, /^resp_/)
        assert.strictEqual(response.object, "response")
        assert.strictEqual(response.status, "completed")
        assert.strictEqual(response.model, "assistant")
        assert.strictEqual(response.output_text, "one two three")
        assert.lengthOf(response.output, 1)
        assert.deepStrictEqual(response.metadata, { a: "b" })
        assert.strictEqual(response.user, "ada")
        assert.isNull(response.error)
        assert.deepStrictEqual(response.usage, {
          input_tokens: 10,
          input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 },
          output_tokens: 5,
          output_tokens_details: { reasoning_tokens: 2 },
          total_tokens: 15
        })
      }))

    it.live("stream the events that the client's helper takes, numbered, and come to the same response", () =>
      Effect.gen(function*() {
        const { client } = yield* served()
        const stream = client.responses.stream(ask)
        const events = yield* call(async () => {
          const events = []
          for await (const event of stream) events.push(event)
          return events
        })
        assert.deepStrictEqual(events.map(({ type }) => type), [
          "response.created",
          "response.in_progress",
          "response.output_item.added",
          "response.content_part.added",
          "response.output_text.delta",
          "response.output_text.delta",
          "response.output_text.delta",
          "response.output_text.done",
          "response.content_part.done",
          "response.output_item.done",
          "response.completed"
        ])
        assert.deepStrictEqual(events.map((event) => event.sequence_number), events.map((_, index) => index))
        const final = yield* call(() => stream.finalResponse())
        assert.strictEqual(final.output_text, "one two three")
        const stored = yield* call(() => client.responses.retrieve(final.id))
        assert.deepStrictEqual(sent(stored.output), sent(final.output))
        assert.deepStrictEqual(stored.usage, final.usage)
      }))

    it.live("build the same from their deltas alone", () =>
      Effect.gen(function*() {
        const { client } = yield* served({
          script: [ModelScripted.items([
            {
              type: "message",
              id: "m1",
              role: "assistant",
              content: [{
                type: "output_text",
                text: "See there.",
                annotations: [{ type: "url_citation", url: "http://a.test", title: "a", start_index: 0, end_index: 3 }]
              }]
            },
            { type: "message", id: "m2", role: "assistant", content: [{ type: "refusal", refusal: "Not more." }] }
          ])]
        })
        const [built, last] = yield* call(async () => {
          const events = await client.responses.create({ ...ask, stream: true })
          let built: any
          for await (const event of events) {
            if (event.type === "response.completed") return [built.output, event.response.output]
            built = accumulateResponse(event, built)
          }
          return []
        })
        assert.deepStrictEqual(built, last)
        assert.lengthOf(last as any, 2)
        assert.strictEqual((last as any)[0].content[0].annotations[0].url, "http://a.test")
      }))

    it.live("take items as input, the model's own answers among them, and give the model no ids of theirs", () =>
      Effect.gen(function*() {
        let seen: ReadonlyArray<Item.Item> = []
        const { client } = yield* served({
          script: ({ input }) => {
            seen = structuredClone(itemsOf(input)) as ReadonlyArray<Item.Item>
            return words("yes")
          }
        })
        const first = yield* call(() => client.responses.create({ ...ask, store: false }))
        yield* call(() =>
          client.responses.create({
            model: "assistant",
            store: false,
            input: [
              { role: "user", content: "Hello?" },
              ...first.output as any,
              { type: "reasoning", id: "rs_1", summary: [] },
              { role: "user", content: [{ type: "input_text", text: "And?" }] }
            ]
          })
        )
        assert.deepStrictEqual(seen.map((item) => Object.keys(item).sort().join()), [
          "content,role,type",
          "content,role,type",
          "content,role,type"
        ])
        assert.deepStrictEqual(seen.map(Item.text), ["Hello?", "yes", "And?"])
      }))

    it.live("say why they are incomplete", () =>
      Effect.gen(function*() {
        const { client } = yield* served({
          script: () => ModelScripted.incomplete("max_output_tokens", ModelScripted.text("cut o"))
        })
        const response = yield* call(() => client.responses.create(ask))
        assert.strictEqual(response.status, "incomplete")
        assert.deepStrictEqual(response.incomplete_details, { reason: "max_output_tokens" })
        assert.strictEqual(response.output_text, "cut o")
        const streamed = yield* call(() => client.responses.stream(ask).finalResponse())
        assert.strictEqual(streamed.status, "incomplete")
      }))

    it.live("tell a refusal", () =>
      Effect.gen(function*() {
        const { client } = yield* served({ script: () => ModelScripted.refusal(["I will ", "not."]) })
        const content = [{ type: "refusal", refusal: "I will not." }]
        const response = yield* call(() => client.responses.create(ask))
        assert.deepStrictEqual((response.output[0] as any).content, content)
        const streamed = yield* call(() => client.responses.stream(ask).finalResponse())
        assert.deepStrictEqual(sent(streamed.output[0]).content, content)
      }))

    it.live("have a comment where nothing comes for a while", () =>
      Effect.gen(function*() {
        const { url } = yield* served({ script: () => ModelScripted.hang(), heartbeat: "50 millis", drainTimeout: 0 })
        const text = yield* call(async () => {
          const controller = new AbortController()
          const response = await fetch(`${url}/responses`, {
            method: "POST",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ ...ask, stream: true }),
            signal: controller.signal
          })
          assert.strictEqual(response.headers.get("content-type"), "text/event-stream")
          const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
          let text = ""
          while (!text.includes("\n:\n\n")) text += (await reader.read()).value ?? ""
          controller.abort()
          return text
        })
        assert.include(text, "event: response.created\n")
      }))
  })

  describe("a conversation", () => {
    it.live("goes on by previous_response_id, also at another server with the same session", () =>
      Effect.gen(function*() {
        const session = yield* shared
        const setup = { script: echo, session: Layer.succeed(Session, session) }
        const one = yield* Effect.scoped(
          Effect.flatMap(served(setup), ({ client }) => call(() => client.responses.create({ ...ask, input: "A" })))
        )
        const { client } = yield* served(setup)
        const two = yield* call(() => client.responses.create({ ...ask, input: "B", previous_response_id: one.id }))
        assert.strictEqual(two.previous_response_id, one.id)
        assert.strictEqual(two.conversation!.id, one.conversation!.id)
        const all = ["user: A", "assistant: heard A", "user: B", "assistant: heard B"]
        assert.deepStrictEqual(yield* contents(session, two.conversation!.id), all)
        assert.strictEqual((yield* call(() => client.responses.retrieve(one.id))).output_text, "heard A")
      }))

    it.live("branches where it has gone on since", () =>
      Effect.gen(function*() {
        const session = yield* shared
        const { client } = yield* served({ script: echo, session: Layer.succeed(Session, session) })
        const say = (input: string, previous_response_id?: string) =>
          call(() => client.responses.create({ ...ask, input, previous_response_id: previous_response_id ?? null }))
        const one = yield* say("A")
        const two = yield* say("B", one.id)
        const other = yield* say("C", one.id)
        const further = yield* say("D", other.id)
        assert.notStrictEqual(other.conversation!.id, two.conversation!.id)
        assert.strictEqual(further.conversation!.id, other.conversation!.id)
        const own = yield* contents(session, other.conversation!.id)
        assert.deepStrictEqual(own.filter((line) => line.startsWith("user")), ["user: A", "user: C", "user: D"])
        const first = yield* contents(session, two.conversation!.id)
        assert.deepStrictEqual(first.filter((line) => line.startsWith("user")), ["user: A", "user: B"])
      }))

    it.live("goes on in place where only maintenance came after it, and cannot branch off what was rewritten", () =>
      Effect.gen(function*() {
        const session = yield* shared
        const { client } = yield* served({ script: echo, session: Layer.succeed(Session, session) })
        const one = yield* call(() => client.responses.create({ ...ask, input: "A" }))
        const id = one.conversation!.id
        const shorten = Effect.flatMap(
          session.loadItems(id),
          ({ items, version }) =>
            session.rewrite(id, { through: version, items: [Item.user("short"), ...items.slice(-1)] })
        )
        yield* shorten
        const two = yield* call(() => client.responses.create({ ...ask, input: "B", previous_response_id: one.id }))
        assert.strictEqual(two.conversation!.id, id)
        yield* shorten
        yield* call(() => client.responses.create({ ...ask, input: "C", previous_response_id: two.id }))
        const error = yield* rejected(() =>
          client.responses.create({ ...ask, input: "D", previous_response_id: one.id })
        )
        assert.strictEqual(error.status, 409)
        assert.strictEqual(error.code, "conversation_moved")
      }))

    it.live("is named by the client, and is not written to without store unless it is named", () =>
      Effect.gen(function*() {
        const session = yield* shared
        const { client } = yield* served({ script: echo, session: Layer.succeed(Session, session) })
        const ids = Effect.map(Stream.runCollect(session.conversations()), (all) => all.map(({ id }) => id))
        const first = yield* call(() => client.responses.create({ ...ask, input: "A", conversation: "ada" }))
        assert.strictEqual(first.conversation!.id, "ada")
        yield* call(() => client.responses.create({ ...ask, input: "B", conversation: { id: "ada" }, store: false }))
        assert.lengthOf(yield* contents(session, "ada"), 4)
        const before = yield* ids
        const third = yield* call(() =>
          client.responses.create({ ...ask, input: "C", store: false, previous_response_id: first.id })
        )
        yield* call(() => client.responses.create({ ...ask, input: "C", store: false }))
        assert.isFalse((third as any).store)
        assert.isNull(third.conversation)
        assert.deepStrictEqual(yield* ids, before)
        assert.strictEqual((yield* rejected(() => client.responses.retrieve(third.id))).status, 404)
      }))

    it.live("gives the model what led to a response, of which nothing more is stored", () =>
      Effect.gen(function*() {
        const { client } = yield* served({
          script: ({ input }) => ModelScripted.text(itemsOf(input).map(Item.text).join("|"))
        })
        const one = yield* call(() => client.responses.create({ ...ask, input: "A" }))
        yield* call(() => client.responses.create({ ...ask, input: "B", previous_response_id: one.id }))
        const branch = yield* call(() =>
          client.responses.create({ ...ask, input: "C", previous_response_id: one.id, store: false })
        )
        assert.strictEqual(branch.output_text, "A|A|C")
      }))

    it.live("deletes a response and leaves its conversation", () =>
      Effect.gen(function*() {
        const session = yield* shared
        const { client } = yield* served({ session: Layer.succeed(Session, session) })
        const { conversation, id } = yield* call(() => client.responses.create(ask))
        yield* call(() => client.responses.delete(id))
        assert.strictEqual((yield* rejected(() => client.responses.retrieve(id))).status, 404)
        assert.strictEqual((yield* rejected(() => client.responses.delete(id))).status, 404)
        const error = yield* rejected(() => client.responses.create({ ...ask, previous_response_id: id }))
        assert.strictEqual(error.code, "previous_response_not_found")
        assert.lengthOf(yield* contents(session, conversation!.id), 2)
      }))

    it.live("has a response that can be read and cancelled while it is made", () =>
      Effect.gen(function*() {
        const { client, counts } = yield* served({
          script: () => ModelScripted.hang({ of: ModelScripted.text(["one ", "two"]), after: 1 })
        })
        const stream = client.responses.stream(ask)
        const id = yield* call(() => firstDelta(stream))
        const making = yield* call(() => client.responses.retrieve(id))
        assert.strictEqual(making.status, "in_progress")
        assert.strictEqual((making.output[0] as any).content[0].text, "one ")
        assert.strictEqual((yield* rejected(() => client.responses.delete(id))).code, "response_in_progress")
        const cancelled = yield* call(() => client.responses.cancel(id))
        assert.strictEqual(cancelled.status, "cancelled")
        assert.strictEqual((yield* call(() => stream.finalResponse())).status, "cancelled")
        assert.strictEqual((yield* counts).running, 0)
        assert.strictEqual((yield* rejected(() => client.responses.cancel(id))).status, 404)
        const done = yield* Effect.scoped(Effect.flatMap(served(), ({ client }) =>
          Effect.flatMap(
            call(() => client.responses.create(ask)),
            ({ id }) => rejected(() => client.responses.cancel(id))
          )))
        assert.strictEqual(done.code, "not_in_progress")
      }))
  })

  describe("an agent", () => {
    const Forecaster = Agent.make({ name: "forecaster", toolkit: Weather })
    const scripted = () => [
      ModelScripted.calls([{ name: "weather", arguments: { city: "Oslo" } }], {
        text: "I look.",
        reasoning: "Hm."
      }),
      ModelScripted.text("It is cold.")
    ]
    const forecast = { model: "forecaster", input: "Oslo?" }
    const withSky = (agent: Agent.Any) => agent as Agent.Agent<any, any, never>

    const servedWithSky = (setup: Parameters<typeof served>[0] = {}) =>
      Effect.flatMap(Layer.build(Sky), (sky) =>
        Effect.provideContext(
          served({ agents: { forecaster: withSky(Forecaster) }, script: scripted(), ...setup }),
          sky
        ))

    it.live("with tools shows what it says, and neither its calls nor its thoughts", () =>
      Effect.gen(function*() {
        const { client } = yield* servedWithSky({ script: [...scripted(), ...scripted()] })
        const response = yield* call(() => client.responses.create(forecast))
        assert.deepStrictEqual(response.output.map(({ type }) => type), ["message", "message"])
        assert.strictEqual(response.output_text, "I look.It is cold.")
        const completion = yield* call(() =>
          client.chat.completions.create({ model: "forecaster", messages: [{ role: "user", content: "Oslo?" }] })
        )
        assert.strictEqual(completion.choices[0]!.message.content, "I look.\n\nIt is cold.")
      }))

    it.live("shows only its final answer where that is wanted", () =>
      Effect.gen(function*() {
        const { client } = yield* servedWithSky({ messages: "final", script: [...scripted(), ...scripted()] })
        const response = yield* call(() => client.responses.create(forecast))
        assert.strictEqual(response.output_text, "It is cold.")
        assert.strictEqual(
          (yield* call(() => client.responses.stream(forecast).finalResponse())).output_text,
          "It is cold."
        )
      }))

    it.live("shows its calls as calls that the client is not to answer", () =>
      Effect.gen(function*() {
        const { client } = yield* servedWithSky({
          showToolCalls: true,
          script: [
            ModelScripted.calls([
              { name: "weather", arguments: { city: "Oslo" } },
              { name: "weather", arguments: { town: "Oslo" } }
            ]),
            ...scripted(),
            ...scripted()
          ]
        })
        const response = yield* call(() => client.responses.create(forecast))
        assert.deepStrictEqual(response.output.map(({ type }) => type), [
          "mcp_call",
          "mcp_call",
          "message",
          "mcp_call",
          "message"
        ])
        const [good, bad] = response.output as any
        assert.deepInclude(good, {
          name: "weather",
          server_label: "forecaster",
          arguments: `{"city":"Oslo"}`,
          output: "cold",
          status: "completed",
          error: null
        })
        assert.strictEqual(bad.status, "failed")
        assert.isString(bad.error.content)
        const again = yield* call(() => client.responses.stream(forecast).finalResponse())
        assert.deepStrictEqual(again.output.map(({ type }) => type), ["message", "mcp_call", "message"])
        const back = yield* Effect.scoped(Effect.flatMap(served(), ({ client }) =>
          call(() =>
            client.responses.create({
              ...ask,
              input: [...JSON.parse(JSON.stringify(again.output)), { role: "user", content: "And now?" }]
            })
          )))
        assert.strictEqual(back.status, "completed")
      }))

    it.live("that stops at a tool answers with what it gave", () =>
      Effect.gen(function*() {
        const Stopping = Agent.make({ name: "forecaster", toolkit: Weather, toolUse: "stopOnFirst" })
        const { client } = yield* servedWithSky({
          agents: { forecaster: withSky(Stopping) },
          script: [scripted()[0]!, scripted()[0]!]
        })
        const response = yield* call(() => client.responses.create(forecast))
        assert.strictEqual(response.output_text, "I look.cold")
        const streamed = yield* call(() => client.responses.stream(forecast).finalResponse())
        assert.strictEqual(streamed.output_text, "I look.cold")
      }))

    it.live("with an output of its own answers the client's parse", () =>
      Effect.gen(function*() {
        const Due = Agent.make({ name: "due", output: Schema.Struct({ on: Schema.String, urgent: Schema.Boolean }) })
        const due = { model: "due", input: "When?" }
        const { client } = yield* served({
          agents: { due: Due },
          script: () => ModelScripted.text([`{"on":"Friday",`, `"urgent":true}`])
        })
        const format = zodTextFormat(z.object({ on: z.string(), urgent: z.boolean() }), "due")
        const parsed = yield* call(() => client.responses.parse({ ...due, text: { format } }))
        assert.deepStrictEqual(parsed.output_parsed, { on: "Friday", urgent: true })
        const streamed = yield* call(() => client.responses.stream({ ...due, text: { format } }).finalResponse())
        assert.deepStrictEqual(streamed.output_parsed, { on: "Friday", urgent: true })
        const completion = yield* call(() =>
          client.chat.completions.create({
            model: "due",
            messages: [{ role: "user", content: "When?" }],
            response_format: { type: "json_object" }
          })
        )
        assert.deepStrictEqual(JSON.parse(completion.choices[0]!.message.content!), { on: "Friday", urgent: true })
      }))

    it.live("that hands off answers with what both say", () =>
      Effect.gen(function*() {
        const Refunds = Agent.make({ name: "refunds" })
        const Desk = Agent.make({ name: "desk", handoffs: [Handoff.to(Refunds)] })
        const { client } = yield* served({
          agents: { desk: Desk },
          showToolCalls: true,
          script: [
            ModelScripted.calls([{ name: "transfer_to_refunds" }], { text: "One moment." }),
            ModelScripted.text("42 euros.")
          ]
        })
        const response = yield* call(() => client.responses.create({ model: "desk", input: "Money back!" }))
        assert.deepStrictEqual(response.output.map(({ type }) => type), ["message", "message"])
        assert.strictEqual(response.output_text, "One moment.42 euros.")
        assert.strictEqual(response.model, "desk")
      }))
  })

  describe("chat completions", () => {
    const messages = [{ role: "user" as const, content: "Hello?" }]

    it.live("answer at once", () =>
      Effect.gen(function*() {
        const { client } = yield* served()
        const completion = yield* call(() => client.chat.completions.create({ model: "assistant", messages }))
        assert.strictEqual(completion.object, "chat.completion")
        assert.deepStrictEqual(completion.choices as unknown, [{
          index: 0,
          message: { role: "assistant", content: "one two three", refusal: null },
          logprobs: null,
          finish_reason: "stop"
        }])
        assert.deepStrictEqual(completion.usage, {
          prompt_tokens: 10,
          completion_tokens: 5,
          total_tokens: 15,
          prompt_tokens_details: { cached_tokens: 3 },
          completion_tokens_details: { reasoning_tokens: 2 }
        })
      }))

    it.live("stream chunks, with the usage at the end where it is asked for", () =>
      Effect.gen(function*() {
        const { client } = yield* served()
        const chunks = (options: object) =>
          call(async () => {
            const chunks = []
            const body = { model: "assistant", messages, stream: true as const, ...options }
            for await (const chunk of await client.chat.completions.create(body)) chunks.push(chunk)
            return chunks
          })
        const plain = yield* chunks({})
        assert.deepStrictEqual(plain.map(({ choices: [choice] }) => choice!.delta.content), [
          "",
          "one ",
          "two ",
          "three",
          undefined
        ])
        assert.strictEqual(new Set(plain.map(({ id }) => id)).size, 1)
        assert.strictEqual(plain[0]!.choices[0]!.delta.role, "assistant")
        assert.strictEqual(plain.at(-1)!.choices[0]!.finish_reason, "stop")
        assert.isTrue(plain.every((chunk) => !("usage" in chunk)))
        const counted = yield* chunks({ stream_options: { include_usage: true } })
        assert.deepStrictEqual(counted.at(-1)!.choices, [])
        assert.strictEqual(counted.at(-1)!.usage!.total_tokens, 15)
        assert.isTrue(counted.slice(0, -1).every(({ usage }) => usage === null))
        const helper = yield* call(() =>
          client.chat.completions.stream({ model: "assistant", messages }).finalContent()
        )
        assert.strictEqual(helper, "one two three")
      }))

    it.live("give the model the whole conversation that the client keeps", () =>
      Effect.gen(function*() {
        let seen: ReadonlyArray<Item.Item> = []
        const { client } = yield* served({
          script: ({ input }) => {
            seen = structuredClone(itemsOf(input)) as ReadonlyArray<Item.Item>
            return words("yes")
          }
        })
        yield* call(() =>
          client.chat.completions.create({
            model: "assistant",
            messages: [
              { role: "user", content: "A" },
              { role: "assistant", content: "B" },
              {
                role: "user",
                content: [
                  { type: "text", text: "C" },
                  { type: "image_url", image_url: { url: "data:image/png;base64,AA==", detail: "low" } },
                  { type: "input_audio", input_audio: { data: "AA==", format: "wav" } },
                  { type: "file", file: { file_data: "data:text/plain;base64,QQ==", filename: "a.txt" } }
                ]
              }
            ]
          })
        )
        assert.deepStrictEqual(seen as unknown, [
          { type: "message", role: "user", content: "A" },
          { type: "message", role: "assistant", content: "B" },
          {
            type: "message",
            role: "user",
            content: [
              { type: "input_text", text: "C" },
              { type: "input_image", image_url: "data:image/png;base64,AA==", detail: "low" },
              { type: "input_audio", input_audio: { data: "AA==", format: "wav" } },
              { type: "input_file", file_data: "data:text/plain;base64,QQ==", filename: "a.txt" }
            ]
          }
        ])
      }))

    it.live("tell why they end", () =>
      Effect.gen(function*() {
        const { client } = yield* served({
          script: [
            ModelScripted.incomplete("max_output_tokens", ModelScripted.text("cut o")),
            ModelScripted.incomplete("content_filter", ModelScripted.text("cut o")),
            ModelScripted.refusal("No."),
            ModelScripted.refusal(["N", "o."])
          ]
        })
        const create = call(() => client.chat.completions.create({ model: "assistant", messages }))
        assert.strictEqual((yield* create).choices[0]!.finish_reason, "length")
        assert.strictEqual((yield* create).choices[0]!.finish_reason, "content_filter")
        const refused = (yield* create).choices[0]!.message
        assert.deepStrictEqual([refused.content, refused.refusal], [null, "No."])
        const streamed = yield* call(() =>
          client.chat.completions.stream({ model: "assistant", messages }).finalMessage()
        )
        assert.strictEqual(streamed.refusal, "No.")
      }))

    it.live("take calls and outputs where any items are taken", () =>
      Effect.gen(function*() {
        let seen: ReadonlyArray<Item.Item> = []
        const { client } = yield* served({
          acceptItems: "any",
          script: ({ input }) => {
            seen = structuredClone(itemsOf(input)) as ReadonlyArray<Item.Item>
            return words("yes")
          }
        })
        yield* call(() =>
          client.chat.completions.create({
            model: "assistant",
            messages: [
              { role: "developer", content: "Obey." },
              { role: "user", content: "A" },
              {
                role: "assistant",
                content: null,
                tool_calls: [{ id: "c1", type: "function", function: { name: "f", arguments: "{}" } }]
              },
              { role: "tool", tool_call_id: "c1", content: "out" }
            ]
          })
        )
        assert.deepStrictEqual(seen as unknown, [
          { type: "message", role: "developer", content: "Obey." },
          { type: "message", role: "user", content: "A" },
          { type: "function_call", call_id: "c1", name: "f", arguments: "{}" },
          { type: "function_call_output", call_id: "c1", output: "out" }
        ])
      }))
  })

  describe("what a client decides", () => {
    it.live("are instructions and settings, where the options say so", () =>
      Effect.gen(function*() {
        let seen: any
        const script: ModelScripted.Script = (request) => {
          seen = { instructions: request.instructions, settings: request.settings, roles: request.input.length }
          return words("yes")
        }
        const body = {
          ...ask,
          instructions: "Be brief.",
          input: [{ role: "developer" as const, content: "In verse." }, { role: "user" as const, content: "?" }],
          temperature: 0.5,
          top_p: 0.4,
          max_output_tokens: 7,
          parallel_tool_calls: false,
          reasoning: { effort: "low" as const },
          text: { verbosity: "low" as const }
        }
        const open = yield* served({ script, instructions: "add", settings: "apply" })
        const response = yield* call(() => open.client.responses.create(body))
        assert.strictEqual(response.instructions, "Be brief.\n\nIn verse.")
        assert.deepStrictEqual(seen, {
          instructions: "You answer.\n\nBe brief.\n\nIn verse.",
          settings: {
            temperature: 0.5,
            topP: 0.4,
            maxOutputTokens: 7,
            parallelToolCalls: false,
            reasoning: { effort: "low" },
            verbosity: "low"
          },
          roles: 1
        })
        yield* call(() =>
          open.client.chat.completions.create({
            model: "assistant",
            messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "?" }],
            max_tokens: 9,
            reasoning_effort: "high"
          })
        )
        assert.deepStrictEqual(seen.settings, { maxOutputTokens: 9, reasoning: { effort: "high" } })
        assert.strictEqual(seen.instructions, "You answer.\n\nBe brief.")
        const closed = yield* served({ script, instructions: "ignore", tools: "ignore" })
        yield* call(() =>
          closed.client.responses.create({
            ...body,
            tools: [{ type: "web_search" }],
            tool_choice: "required"
          })
        )
        assert.deepStrictEqual([seen.instructions, seen.settings], ["You answer.", undefined])
      }))
  })

  it.live("tells instructions of a client to the agent that it talks to, and to none that is called like a tool", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const Clerk = Agent.make({ name: "clerk", instructions: "You look it up." })
      const Desk = Agent.make({
        name: "desk",
        agentTools: [Agent.asTool(Clerk, { name: "ask_clerk", description: "Asks the clerk." })]
      })
      const answers = [
        ModelScripted.toolCall("ask_clerk", { input: "When?" }),
        ModelScripted.text("Friday."),
        ModelScripted.text("On Friday.")
      ]
      const { client } = yield* served({
        agents: { desk: Desk },
        instructions: "add",
        script: ({ instructions }) => {
          seen.push(instructions)
          return answers[seen.length - 1]!
        }
      })
      const response = yield* call(() =>
        client.responses.create({ model: "desk", input: "When?", instructions: "In verse." })
      )
      assert.strictEqual(response.output_text, "On Friday.")
      assert.deepStrictEqual(seen, ["In verse.", "You look it up.", "In verse."])
    }))

  it.live("lets a run finish whose client has left, where that is wanted, and stores it", () =>
    Effect.gen(function*() {
      const session = yield* shared
      const gate = yield* makeGate
      const { client, counts } = yield* served({
        gate,
        session: Layer.succeed(Session, session),
        onDisconnect: "finish",
        script: () => ModelScripted.text(["one ", "two ", "three"])
      })
      const stream = client.responses.stream({ ...ask, conversation: "ada" })
      const id = yield* call(() => firstDelta(stream))
      stream.abort()
      yield* until(counts, ({ subscribers }) => subscribers === 0)
      assert.strictEqual((yield* counts).running, 1)
      yield* gate.open
      yield* until(counts, ({ running }) => running === 0)
      assert.strictEqual((yield* call(() => client.responses.retrieve(id))).output_text, "one two three")
      assert.deepStrictEqual(yield* contents(session, "ada"), ["user: Hello?", "assistant: one two three"])
    }))

  it.live("lets a run finish whose client has left before its answer, where that is wanted, and stores it", () =>
    Effect.gen(function*() {
      const gate = yield* makeGate
      const session = yield* shared
      const { client, counts } = yield* served({
        gate,
        session: Layer.succeed(Session, session),
        onDisconnect: "finish"
      })
      const controller = new AbortController()
      const whole = client.responses.create({ ...ask, conversation: "bob" }, { signal: controller.signal })
        .then(() => "", () => "left")
      yield* until(counts, ({ running }) => running === 1)
      controller.abort()
      assert.strictEqual(yield* call(() => whole), "left")
      yield* gate.open
      yield* until(contents(session, "bob"), (items) => items.length === 2)
    }))
})
