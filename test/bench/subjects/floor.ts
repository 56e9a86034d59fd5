// oxlint-disable no-await-in-loop -- everything here happens one after another on purpose
// What the work costs with no SDK at all: a loop around an asynchronous function.
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
  toolName,
  toolSleepMillis
} from "../workloads.ts"

type Item =
  | { readonly type: "message"; readonly role: "user" | "assistant"; readonly text: string }
  | { readonly type: "function_call"; readonly callId: string; readonly name: string; readonly arguments: string }
  | { readonly type: "function_call_output"; readonly callId: string; readonly output: string }

const isOutput = (item: Item): boolean => item.type === "function_call_output"

export const subject: Subject = {
  hello: "subjects/hello/floor.js",
  turn: async ({ toolCalls, traced }) => {
    if (traced) {
      return undefined
    }
    let asked = 0
    const respond = async (_history: ReadonlyArray<Item>): Promise<Item> => {
      if (asked < toolCalls) {
        asked++
        return { type: "function_call", callId: `call_${asked}`, name: toolName, arguments: `{"key":"k${asked}"}` }
      }
      asked = 0
      return { type: "message", role: "assistant", text: answer }
    }
    return {
      run: async () => {
        const history: Array<Item> = [{ type: "message", role: "user", text: question }]
        let called = 0
        for (;;) {
          const item = await respond(history)
          history.push(item)
          if (item.type === "function_call") {
            called++
            const input = JSON.parse(item.arguments) as { readonly key: string }
            history.push({ type: "function_call_output", callId: item.callId, output: lookup(input.key) })
          } else {
            expectEqual("answer", item.type === "message" ? item.text : item.type, answer)
            break
          }
        }
        expectEqual("tool calls", called, toolCalls)
      }
    }
  },
  stream: async ({ delivery }) => ({
    run: async () => {
      let seen = 0
      if (delivery === "chunks") {
        for await (const chunk of deltaChunks()) {
          for (const delta of chunk) {
            seen += delta.length > 0 ? 1 : 0
          }
        }
      } else {
        for await (const delta of singleDeltas()) {
          seen += delta.length > 0 ? 1 : 0
        }
      }
      expectEqual("deltas", seen, deltaCount)
    }
  }),
  concurrent: async ({ onTool, toolCalls }) => {
    const respond = async (history: ReadonlyArray<Item>): Promise<Item> => {
      const outputs = history.filter(isOutput).length
      return outputs < toolCalls
        ? { type: "function_call", callId: `call_${outputs}`, name: toolName, arguments: `{"key":"k${outputs}"}` }
        : { type: "message", role: "assistant", text: answer }
    }
    return {
      run: async () => {
        const history: Array<Item> = [{ type: "message", role: "user", text: question }]
        for (;;) {
          const item = await respond(history)
          history.push(item)
          if (item.type === "function_call") {
            onTool()
            const input = JSON.parse(item.arguments) as { readonly key: string }
            // oxlint-disable-next-line house/bare-sleep -- the measured tool takes this time
            await new Promise((resolve) => setTimeout(resolve, toolSleepMillis))
            history.push({ type: "function_call_output", callId: item.callId, output: lookup(input.key) })
          } else {
            expectEqual("answer", item.type === "message" ? item.text : item.type, answer)
            break
          }
        }
      }
    }
  },
  // Stored items are JSON texts in an array.
  history: async ({ onModel, store, toolCalls }) => {
    if (store !== "memory") {
      return undefined
    }
    let asked = 0
    const respond = async (_history: ReadonlyArray<Item>): Promise<Item> => {
      onModel()
      if (asked < toolCalls) {
        asked++
        return { type: "function_call", callId: `call_${asked}`, name: toolName, arguments: `{"key":"k${asked}"}` }
      }
      asked = 0
      return { type: "message", role: "assistant", text: answer }
    }
    return {
      prepare: async (items) => {
        const stored = Array.from(
          { length: items },
          (_, index) =>
            JSON.stringify({ type: "message", role: index % 2 === 0 ? "user" : "assistant", text: storedText(index) })
        )
        return async () => {
          const history = stored.map((text) => JSON.parse(text) as Item)
          const commit = (item: Item): void => {
            history.push(item)
            stored.push(JSON.stringify(item))
          }
          commit({ type: "message", role: "user", text: question })
          for (;;) {
            const item = await respond(history)
            commit(item)
            if (item.type !== "function_call") {
              break
            }
            const input = JSON.parse(item.arguments) as { readonly key: string }
            commit({ type: "function_call_output", callId: item.callId, output: lookup(input.key) })
          }
          expectEqual("items", history.length, items + 2 + 2 * toolCalls)
        }
      },
      close: () => Promise.resolve()
    }
  }
}
