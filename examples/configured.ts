/**
 * A stack that an operator chooses, by a configuration and by variables: the program says what it needs, and no more.
 * Here the configuration is a constant; `Extensions.layerProject()` reads `agent-layers.config.ts`, `.json` or `.yaml`.
 *
 * To see what is told of mistakes, write `use: "rediss"`, or put "encrypted" before "compacted".
 * To see a compile error, replace `Effect.provide(Services)` by `Effect.provide(Layer.empty)`: `ModelProvider` is missing.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Agent, ModelScripted, Runner, Session } from "agent-layers"
import { Configuration, Extension, Extensions, Health } from "agent-layers/extensions"
import { ConfigProvider, Console, Effect, Layer } from "effect"

// With a key: take "openai" for "offline" in the configuration, and set OPENAI_API_KEY
const model = ModelScripted.layer([ModelScripted.text("Nobody at home but me.")])

/** An extension of the program's own; one of a package is the default export of a module. */
const offline = Extension.make({
  kind: "model",
  name: "offline",
  version: "1.0.0",
  compatibleWith: "^0.1.0",
  description: "Answers without a network.",
  config: {},
  layer: () => model
})

const config = Configuration.define({
  session: { use: "sqlite", settings: { filename: "conversations.sqlite" } },
  model: "offline",
  environments: {
    // Redis with decorators, the outermost first, and another store in case that it is not there.
    production: { session: { use: "redis", wrap: ["cached", "compressed", "encrypted"], fallback: "memory" } }
  }
})

// What the environment of the process would say; nobody listens on that port.
const environment = ConfigProvider.fromEnv({
  env: {
    AGENT_LAYERS_ENV: "production",
    AGENT_LAYERS_SESSION_REDIS_URL: "redis://:secret@127.0.0.1:1",
    AGENT_LAYERS_SESSION_ENCRYPTED_KEYS: "2026:bm90IGEgc2VjcmV0LCBqdXN0IGFuIGV4YW1wbGUhISE="
  }
})

const program = Effect.gen(function*() {
  const registry = yield* Extension.ExtensionRegistry
  for (const { name, place, source, value } of yield* registry.settings("session")) {
    if (source !== "default" && source !== "absent") yield* Console.log(`${place} ${name} = ${value} (${source})`)
  }

  const health = yield* Health.Health
  const { layers, status } = yield* health.check
  yield* Console.log(`health: ${status}`)
  for (const { insteadOf, kind, use, wrap } of layers) {
    const stack = [...wrap, use].join(" > ")
    yield* Console.log(`  ${kind}: ${stack}${insteadOf === undefined ? "" : `, instead of ${insteadOf}`}`)
  }

  const agent = Agent.make({ name: "porter" })
  const { finalOutput } = yield* Runner.run(agent, "Is anybody there?", { conversationId: "ada" })
  const session = yield* Session.Session
  const { items } = yield* session.loadItems("ada")
  yield* Console.log(`${finalOutput} (${items.length} items, sealed: ${session.capabilities.sealed})`)
})

// The program does not build over a stack that does not encrypt: `Sealed` is needed.
const Services = Extensions.layer(config, { extensions: [offline], needs: [Session.Sealed] }).pipe(
  Layer.provide(ConfigProvider.layer(environment))
)

NodeRuntime.runMain(program.pipe(Effect.provide(Services)))
