// Plain JavaScript: the peer's types are there only once it is installed, and the type check must not depend on that.
import { OpenTelemetry } from "@ai-sdk/otel"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { generateText, isStepCount, streamText, tool } from "ai"
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

const usage = () => ({
  inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 1, text: 1, reasoning: undefined }
})

const modelOf = (calls) => ({
  specificationVersion: "v4",
  provider: "bench",
  modelId: "bench",
  supportedUrls: {},
  ...calls
})

const notUsed = () => {
  throw new Error("this workload does not call it")
}

/** @type {import("../workloads.ts").Subject} */
export const subject = {
  hello: "peers/hello/ai.js",
  turn: async ({ toolCalls, traced }) => {
    const exporter = new InMemorySpanExporter()
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    const telemetry = traced
      ? { integrations: [new OpenTelemetry({ tracer: provider.getTracer("bench") })] }
      : { isEnabled: false }
    let asked = 0
    const model = modelOf({
      doGenerate: () => {
        if (asked < toolCalls) {
          asked++
          return Promise.resolve({
            content: [{ type: "tool-call", toolCallId: `call_${asked}`, toolName, input: `{"key":"k${asked}"}` }],
            finishReason: { unified: "tool-calls", raw: undefined },
            usage: usage(),
            warnings: []
          })
        }
        asked = 0
        return Promise.resolve({
          content: [{ type: "text", text: answer }],
          finishReason: { unified: "stop", raw: undefined },
          usage: usage(),
          warnings: []
        })
      },
      doStream: notUsed
    })
    let called = 0
    const tools = {
      [toolName]: tool({
        description: "Looks a key up.",
        inputSchema: z.object({ key: z.string() }),
        execute: ({ key }) => {
          called++
          return lookup(key)
        }
      })
    }
    return {
      run: async () => {
        exporter.reset()
        called = 0
        const result = await generateText({
          model,
          instructions: "Use the tool.",
          prompt: question,
          tools,
          stopWhen: isStepCount(toolCalls + 1),
          telemetry
        })
        expectEqual("answer", result.text, answer)
        expectEqual("tool calls", called, toolCalls)
        if (traced && exporter.getFinishedSpans().length === 0) {
          throw new Error("no span was traced")
        }
      },
      ...(traced ? { spans: () => exporter.getFinishedSpans().length } : {})
    }
  },
  // The full event stream: with this peer it is faster than its text stream.
  stream: async ({ delivery }) => {
    const model = modelOf({
      doGenerate: notUsed,
      doStream: () => {
        const source = delivery === "chunks" ? deltaChunks() : singleDeltas()
        const stream = new ReadableStream({
          start: (controller) => {
            controller.enqueue({ type: "stream-start", warnings: [] })
            controller.enqueue({ type: "text-start", id: "0" })
          },
          pull: async (controller) => {
            const next = await source.next()
            if (next.done) {
              controller.enqueue({ type: "text-end", id: "0" })
              controller.enqueue({
                type: "finish",
                usage: usage(),
                finishReason: { unified: "stop", raw: undefined }
              })
              controller.close()
            } else if (typeof next.value === "string") {
              controller.enqueue({ type: "text-delta", id: "0", delta: next.value })
            } else {
              for (const delta of next.value) {
                controller.enqueue({ type: "text-delta", id: "0", delta })
              }
            }
          }
        })
        return Promise.resolve({ stream })
      }
    })
    return {
      run: async () => {
        let seen = 0
        const result = streamText({
          model,
          instructions: "Tell a story.",
          prompt: question,
          telemetry: { isEnabled: false }
        })
        for await (const part of result.fullStream) {
          if (part.type === "text-delta") {
            seen++
          }
        }
        expectEqual("deltas", seen, deltaCount)
        expectEqual("text", (await result.text).length, streamedText.length)
      }
    }
  },
  concurrent: async ({ onTool, toolCalls }) => {
    const model = modelOf({
      doGenerate: ({ prompt }) => {
        const outputs = prompt.filter((message) => message.role === "tool").length
        return Promise.resolve(
          outputs < toolCalls
            ? {
              content: [{
                type: "tool-call",
                toolCallId: `call_${outputs}`,
                toolName,
                input: `{"key":"k${outputs}"}`
              }],
              finishReason: { unified: "tool-calls", raw: undefined },
              usage: usage(),
              warnings: []
            }
            : {
              content: [{ type: "text", text: answer }],
              finishReason: { unified: "stop", raw: undefined },
              usage: usage(),
              warnings: []
            }
        )
      },
      doStream: notUsed
    })
    const tools = {
      [toolName]: tool({
        description: "Looks a key up.",
        inputSchema: z.object({ key: z.string() }),
        execute: async ({ key }) => {
          onTool()
          // oxlint-disable-next-line house/bare-sleep -- the measured tool takes this time
          await new Promise((resolve) => setTimeout(resolve, toolSleepMillis))
          return lookup(key)
        }
      })
    }
    return {
      run: async () => {
        const result = await generateText({
          model,
          instructions: "Use the tool.",
          prompt: question,
          tools,
          stopWhen: isStepCount(toolCalls + 1),
          telemetry: { isEnabled: false }
        })
        expectEqual("answer", result.text, answer)
      }
    }
  },
  // It keeps no conversations.
  history: () => Promise.resolve(undefined)
}
