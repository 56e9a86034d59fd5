import { Agent, Runner, setTracingDisabled, Usage } from "@openai/agents"

// As it is configured without a key; otherwise it would print that it has none.
setTracingDisabled(true)

const model = {
  getResponse: () =>
    Promise.resolve({
      usage: new Usage({ requests: 1, inputTokens: 1, outputTokens: 1, totalTokens: 2 }),
      responseId: "hello",
      output: [{
        type: "message",
        role: "assistant",
        status: "completed",
        content: [{ type: "output_text", text: "A Layer is a recipe for a service." }]
      }]
    })
}

const guide = new Agent({ name: "guide", instructions: "You explain Effect to newcomers, in one sentence." })
const runner = new Runner({ modelProvider: { getModel: () => Promise.resolve(model) } })
const result = await runner.run(guide, "What is a Layer?")
console.log(result.finalOutput)
