import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import type { Item } from "agent-layers/services/Item"
import * as Items from "agent-layers/services/Item"
import type { Model, ModelEvent, ModelResponse } from "agent-layers/services/ModelProvider"
import { ModelProvider } from "agent-layers/services/ModelProvider"
import { Session } from "agent-layers/services/Session"
import * as Usage from "agent-layers/services/Usage"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Subject } from "../workloads.ts"
import {
  answer,
  deltaChunks,
  deltaCount,
  expectEqual,
  lookup,
  question,
  singleDeltas,
  storedText,
  streamedText,
  toolName,
  toolSleepMillis
} from "../workloads.ts"

const response = (id: string, output: Item): ModelResponse => ({
  id,
  output: [output],
  usage: Usage.make({ inputTokens: 1, outputTokens: 1 }),
  status: "completed"
})

const provide = (calls: Pick<Model, "respond" | "stream">) =>
  Layer.succeed(ModelProvider, {
    getModel: () => Effect.succeed({ name: "bench", provider: "bench", ...calls })
  })

const notUsed = Effect.die(new Error("this workload does not call it"))

const Lookup = Tool.make(toolName, {
  description: "Looks a key up.",
  parameters: Schema.Struct({ key: Schema.String }),
  success: Schema.String
})

const toolkit = Toolkit.make(Lookup)

export const subject: Subject = {
  hello: "subjects/hello/agent-layers.js",
  turn: async ({ toolCalls, traced }) => {
    let asked = 0
    let called = 0
    const model = provide({
      respond: () =>
        Effect.sync(() => {
          if (asked < toolCalls) {
            asked++
            return response(
              `resp_${asked}`,
              Items.functionCall({ callId: `call_${asked}`, name: toolName, arguments: `{"key":"k${asked}"}` })
            )
          }
          asked = 0
          return response("resp_last", Items.assistant(answer))
        }),
      stream: () => Stream.fromEffect(notUsed)
    })
    const handlers = toolkit.toLayer({
      [toolName]: ({ key }) =>
        Effect.sync(() => {
          called++
          return lookup(key)
        })
    })
    const agent = Agent.make({ name: "bench", instructions: "Use the tool.", toolkit })
    const agentRun = Runner.run(agent, question, { maxTurns: toolCalls + 1 })
    const layer = Layer.merge(model, handlers)
    if (!traced) {
      const runtime = ManagedRuntime.make(layer)
      await runtime.context()
      return {
        run: async () => {
          called = 0
          const result = await runtime.runPromise(agentRun)
          expectEqual("answer", result.finalOutput, answer)
          expectEqual("tool calls", called, toolCalls)
        }
      }
    }
    let spans = 0
    const runtime = ManagedRuntime.make(Layer.merge(layer, TracerMemory.layer))
    const memory = await runtime.runPromise(TracerMemory.TracerMemory)
    const tracedRun = Effect.gen(function*() {
      yield* memory.clear
      const result = yield* agentRun
      spans = (yield* memory.spans).length
      return result
    })
    return {
      run: async () => {
        called = 0
        const result = await runtime.runPromise(tracedRun)
        expectEqual("answer", result.finalOutput, answer)
        expectEqual("tool calls", called, toolCalls)
        if (spans === 0) {
          throw new Error("no span was traced")
        }
      },
      spans: () => spans
    }
  },
  stream: async ({ delivery }) => {
    const delta = (text: string): ModelEvent => ({ _tag: "TextDelta", itemId: "msg_1", delta: text })
    const die = (cause: unknown): never => {
      throw cause
    }
    const message = Items.assistant(streamedText, { id: "msg_1" })
    const end: ReadonlyArray<ModelEvent> = [
      { _tag: "ItemDone", item: message },
      { _tag: "Completed", response: response("resp_last", message) }
    ]
    const events = delivery === "chunks"
      ? Stream.fromAsyncIterable({ [Symbol.asyncIterator]: deltaChunks }, die).pipe(
        Stream.map(Array.map(delta)),
        Stream.flattenArray
      )
      : Stream.fromAsyncIterable({ [Symbol.asyncIterator]: singleDeltas }, die).pipe(Stream.map(delta))
    const model = provide({
      respond: () => notUsed,
      stream: () => Stream.concat(events, Stream.fromIterable(end))
    })
    const agent = Agent.make({ name: "bench", instructions: "Tell a story." })
    const runtime = ManagedRuntime.make(model)
    await runtime.context()
    return {
      run: async () => {
        let seen = 0
        let text = 0
        await runtime.runPromise(Stream.runForEach(Runner.stream(agent, question), (event) =>
          Effect.sync(() => {
            if (event._tag === "TextDelta") {
              seen++
            } else if (event._tag === "Completed") {
              text = event.result.finalOutput.length
            }
          })))
        expectEqual("deltas", seen, deltaCount)
        expectEqual("text", text, streamedText.length)
      }
    }
  },
  concurrent: async ({ onTool, toolCalls }) => {
    const model = provide({
      respond: ({ input }) =>
        Effect.sync(() => {
          const outputs = typeof input === "string" ? 0 : input.filter(Items.isFunctionCallOutput).length
          return outputs < toolCalls
            ? response(
              `resp_${outputs}`,
              Items.functionCall({ callId: `call_${outputs}`, name: toolName, arguments: `{"key":"k${outputs}"}` })
            )
            : response("resp_last", Items.assistant(answer))
        }),
      stream: () => Stream.fromEffect(notUsed)
    })
    const handlers = toolkit.toLayer({
      [toolName]: ({ key }) => {
        onTool()
        return Effect.as(Effect.sleep(toolSleepMillis), lookup(key))
      }
    })
    const agent = Agent.make({ name: "bench", instructions: "Use the tool.", toolkit })
    const agentRun = Runner.run(agent, question, { maxTurns: toolCalls + 1 })
    const runtime = ManagedRuntime.make(Layer.merge(model, handlers))
    await runtime.context()
    return {
      run: async () => {
        const result = await runtime.runPromise(agentRun)
        expectEqual("answer", result.finalOutput, answer)
      }
    }
  },
  history: async ({ onModel, store, toolCalls }) => {
    let asked = 0
    let seen = 0
    const model = provide({
      respond: ({ input }) =>
        Effect.sync(() => {
          onModel()
          seen = input.length
          if (asked < toolCalls) {
            asked++
            return response(
              `resp_${asked}`,
              Items.functionCall({ callId: `call_${asked}`, name: toolName, arguments: `{"key":"k${asked}"}` })
            )
          }
          asked = 0
          return response("resp_last", Items.assistant(answer))
        }),
      stream: () => Stream.fromEffect(notUsed)
    })
    const handlers = toolkit.toLayer({ [toolName]: ({ key }) => Effect.succeed(lookup(key)) })
    const session = store === "memory"
      ? SessionMemory.layer
      : SessionSqlite.layer({ filename: join(tmpdir(), `agent-layers-bench-${process.pid}.db`) })
    const runtime = ManagedRuntime.make(Layer.mergeAll(model, handlers, session))
    const sessions = await runtime.runPromise(Session)
    const agent = Agent.make({ name: "bench", instructions: "Use the tool.", toolkit })
    let conversations = 0
    return {
      prepare: async (items) => {
        conversations++
        const conversationId = `conversation_${conversations}`
        if (conversations > 1) {
          await runtime.runPromise(sessions.clear(`conversation_${conversations - 1}`))
        }
        await runtime.runPromise(sessions.saveItems(
          conversationId,
          items === 0 ?
            [] :
            Array.makeBy(
              items,
              (index) => index % 2 === 0 ? Items.user(storedText(index)) : Items.assistant(storedText(index))
            )
        ))
        const agentRun = Runner.run(agent, question, { conversationId, maxTurns: toolCalls + 1 })
        return async () => {
          const result = await runtime.runPromise(agentRun)
          expectEqual("answer", result.finalOutput, answer)
          expectEqual("items", seen, items + 1 + 2 * toolCalls)
        }
      },
      close: () => runtime.dispose()
    }
  }
}
