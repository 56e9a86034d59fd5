/** The official client of OpenAI sends a request again by itself, and runs no tool again. */
import { describe } from "@effect/vitest"
import OpenAI from "openai"
import { rows } from "./retriesSupport.ts"

const clientOf = (baseURL: string) => new OpenAI({ apiKey: "none", baseURL, maxRetries: 1 })

const messages = [{ role: "user" as const, content: "Charge." }]

/** A stream that has begun tells of the failure in its last event. */
const readAll = async (
  events: AsyncIterable<{ readonly type?: string; readonly response?: { readonly error?: unknown } }>
) => {
  for await (const { response, type } of events) {
    if (type === "response.failed") throw Object.assign(new Error("response.failed"), { error: response?.error })
  }
}

describe("a run that fails after a tool has run", () => {
  rows([
    {
      name: "openai responses",
      isStreamed: false,
      ask: (url, model) => clientOf(url).responses.create({ model, input: "Charge." })
    },
    {
      name: "openai responses",
      isStreamed: true,
      ask: async (url, model) =>
        readAll(await clientOf(url).responses.create({ model, input: "Charge.", stream: true }) as any)
    },
    {
      name: "openai chat",
      isStreamed: false,
      ask: (url, model) => clientOf(url).chat.completions.create({ model, messages })
    },
    {
      name: "openai chat",
      isStreamed: true,
      ask: async (url, model) =>
        readAll(await clientOf(url).chat.completions.create({ model, messages, stream: true }) as any)
    }
  ])
})
