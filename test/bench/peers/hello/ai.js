import { generateText } from "ai"

const model = {
  specificationVersion: "v4",
  provider: "hello",
  modelId: "hello",
  supportedUrls: {},
  doGenerate: () =>
    Promise.resolve({
      content: [{ type: "text", text: "A Layer is a recipe for a service." }],
      finishReason: { unified: "stop", raw: undefined },
      usage: {
        inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: 1, text: 1, reasoning: undefined }
      },
      warnings: []
    })
}

const { text } = await generateText({
  model,
  instructions: "You explain Effect to newcomers, in one sentence.",
  prompt: "What is a Layer?"
})
console.log(text)
