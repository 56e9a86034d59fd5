/** What the rows of the mission share. The name of a test begins with the name that the row has in the guide. */
import { Agent, Item, ModelScripted, Runner, type Session } from "agent-layers"
import { Effect, type Layer } from "effect"

export const Guide = Agent.make({ name: "guide", instructions: "You are brief." })

/** One run of the guide on a conversation. Gives the texts that its model was sent. */
export const say = (text: string, answer: string, conversationId: string) =>
  Runner.run(Guide, text, { conversationId }).pipe(
    Effect.andThen(ModelScripted.requests),
    Effect.map((requests) => requests.flatMap(({ items }) => items.map(Item.text))),
    Effect.provide(ModelScripted.layer([ModelScripted.text(answer)]))
  )

/** Two runs, the second on a session that was opened anew. Gives the texts that the second run's model was sent. */
export const remembers = <E, R>(session: Layer.Layer<Session.Session, E, R>, conversationId = "ada") =>
  Effect.andThen(
    Effect.provide(say("I am Ada.", "Hello.", conversationId), session),
    Effect.provide(say("Who am I?", "You are Ada.", conversationId), session)
  )

export const remembered = ["I am Ada.", "Hello.", "Who am I?"]

/** What the model was told by tools. */
export const outputs = (items: ReadonlyArray<Item.Item>) =>
  items.filter(Item.isFunctionCallOutput).map(({ output }) => output)
