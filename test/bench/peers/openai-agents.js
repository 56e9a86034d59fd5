// Plain JavaScript: the peer's types are there only once it is installed, and the type check must not depend on that.
import { Agent, Runner, setTraceProcessors, tool, Usage } from "@openai/agents"
import { z } from "zod"
import {
  answer,
  deltaChunks,
  deltaCount,
  expectEqual,
  lookup,
  question,
  singleDeltas,
  streamedText,
  toolName,
  toolSleepMillis
} from "../workloads.ts"

const usage = () => new Usage({ requests: 1, inputTokens: 1, outputTokens: 1, totalTokens: 2 })

const message = (text) => ({
  type: "message",
  role: "assistant",
  status: "completed",
  content: [{ type: "output_text", text }]
})

const notUsed = () => {
  throw new Error("this workload does not call it")
}

const ignore = () => Promise.resolve()

/** @type {import("../workloads.ts").Subject} */
export const subject = {
  hello: "peers/hello/openai-agents.js",
  turn: async ({ toolCalls, traced }) => {
    const spans = []
    setTraceProcessors([{
      onTraceStart: ignore,
      onTraceEnd: ignore,
      onSpanStart: ignore,
      onSpanEnd: (span) => {
        spans.push(span)
        return Promise.resolve()
      },
      shutdown: ignore,
      forceFlush: ignore
    }])
    let asked = 0
    const model = {
      getResponse: () => {
        if (asked < toolCalls) {
          asked++
          return Promise.resolve({
            usage: usage(),
            responseId: `resp_${asked}`,
            output: [{
              type: "function_call",
              callId: `call_${asked}`,
              name: toolName,
              status: "completed",
              arguments: `{"key":"k${asked}"}`
            }]
          })
        }
        asked = 0
        return Promise.resolve({ usage: usage(), responseId: "resp_last", output: [message(answer)] })
      },
      getStreamedResponse: notUsed
    }
    let called = 0
    const agent = new Agent({
      name: "bench",
      instructions: "Use the tool.",
      model,
      tools: [tool({
        name: toolName,
        description: "Looks a key up.",
        parameters: z.object({ key: z.string() }),
        execute: ({ key }) => {
          called++
          return lookup(key)
        }
      })]
    })
    const runner = new Runner({ tracingDisabled: !traced })
    return {
      run: async () => {
        spans.length = 0
        called = 0
        const result = await runner.run(agent, question, { maxTurns: toolCalls + 1 })
        expectEqual("answer", result.finalOutput, answer)
        expectEqual("tool calls", called, toolCalls)
        if (traced && spans.length === 0) {
          throw new Error("no span was traced")
        }
      },
      ...(traced ? { spans: () => spans.length } : {})
    }
  },
  // The event stream: with this peer it is faster than its text stream.
  stream: async ({ delivery }) => {
    async function* events() {
      if (delivery === "chunks") {
        for await (const chunk of deltaChunks()) {
          for (const delta of chunk) {
            yield { type: "output_text_delta", delta }
          }
        }
      } else {
        for await (const delta of singleDeltas()) {
          yield { type: "output_text_delta", delta }
        }
      }
      yield {
        type: "response_done",
        response: {
          id: "resp_last",
          usage: { requests: 1, inputTokens: 1, outputTokens: 1, totalTokens: 2 },
          output: [message(streamedText)]
        }
      }
    }
    const agent = new Agent({
      name: "bench",
      instructions: "Tell a story.",
      model: { getResponse: notUsed, getStreamedResponse: events }
    })
    const runner = new Runner({ tracingDisabled: true })
    return {
      run: async () => {
        let seen = 0
        const result = await runner.run(agent, question, { stream: true })
        for await (const event of result) {
          if (event.type === "raw_model_stream_event" && event.data.type === "output_text_delta") {
            seen++
          }
        }
        await result.completed
        expectEqual("deltas", seen, deltaCount)
        expectEqual("text", result.finalOutput?.length, streamedText.length)
      }
    }
  },
  concurrent: async ({ onTool, toolCalls }) => {
    const model = {
      getResponse: ({ input }) => {
        const outputs = typeof input === "string"
          ? 0
          : input.filter((item) => item.type === "function_call_result").length
        return Promise.resolve({
          usage: usage(),
          responseId: `resp_${outputs}`,
          output: [
            outputs < toolCalls
              ? {
                type: "function_call",
                callId: `call_${outputs}`,
                name: toolName,
                status: "completed",
                arguments: `{"key":"k${outputs}"}`
              }
              : message(answer)
          ]
        })
      },
      getStreamedResponse: notUsed
    }
    const agent = new Agent({
      name: "bench",
      instructions: "Use the tool.",
      model,
      tools: [tool({
        name: toolName,
        description: "Looks a key up.",
        parameters: z.object({ key: z.string() }),
        execute: async ({ key }) => {
          onTool()
          // oxlint-disable-next-line house/bare-sleep -- the measured tool takes this time
          await new Promise((resolve) => setTimeout(resolve, toolSleepMillis))
          return lookup(key)
        }
      })]
    })
    const runner = new Runner({ tracingDisabled: true })
    return {
      run: async () => {
        const result = await runner.run(agent, question, { maxTurns: toolCalls + 1 })
        expectEqual("answer", result.finalOutput, answer)
      }
    }
  },
  // The workload measures the stores of agent-layers.
  history: () => Promise.resolve(undefined)
}
