// Plain JavaScript: the clients' types are there only once they are installed, and the type check must not depend on that.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { ChatOpenAI } from "@langchain/openai"
import { generateText, streamText } from "ai"

const prompt = "Charge."

/** One retry, so that a retry shows and no test waits for the sixth. */
const maxRetries = 1

const modelOf = (url, model) => createOpenAICompatible({ name: "agents", baseURL: url, apiKey: "none" })(model)

const langchain = (url, model, more) =>
  new ChatOpenAI({ model, apiKey: "none", maxRetries, configuration: { baseURL: url }, ...more })

const readAll = async (stream) => {
  for await (const part of stream) if (part?.type === "error") throw part.error
}

export const clients = [
  {
    name: "ai (AI SDK)",
    isStreamed: false,
    ask: (url, model) => generateText({ model: modelOf(url, model), prompt, maxRetries })
  },
  {
    name: "ai (AI SDK)",
    isStreamed: true,
    ask: (url, model) =>
      readAll(streamText({ model: modelOf(url, model), prompt, maxRetries, onError: () => {} }).fullStream)
  },
  {
    name: "@langchain/openai chat",
    isStreamed: false,
    ask: (url, model) => langchain(url, model).invoke(prompt)
  },
  {
    name: "@langchain/openai chat",
    isStreamed: true,
    ask: async (url, model) => readAll(await langchain(url, model).stream(prompt))
  },
  {
    name: "@langchain/openai responses",
    isStreamed: false,
    ask: (url, model) => langchain(url, model, { useResponsesApi: true }).invoke(prompt)
  },
  {
    name: "@langchain/openai responses",
    isStreamed: true,
    ask: async (url, model) => readAll(await langchain(url, model, { useResponsesApi: true }).stream(prompt))
  }
]
