/** The agents of a command: those of a module, or the assistant. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import * as Predicate from "effect/Predicate"
import * as Extension from "../../../services/Extension.ts"
import * as Agent from "../../Agent.ts"
import * as Extensions from "../../extensions/Extensions.ts"
import * as assistant from "./assistant.ts"
import { failed, type Failure, misused, tell } from "./failure.ts"
import type { Stack } from "./stack.ts"

/** Agents by name, and what provides their handlers. What that requires in turn shows when it is built. */
export interface Agents {
  readonly agents: Readonly<Record<string, Agent.Any>>
  readonly layer: Layer.Layer<never, unknown, never>
  /** Where they come from, in words. */
  readonly from: string
}

const wanted =
  "It exports an Agent as default, or `agents`, a record of Agents; and `layer`, if they need one, with their handlers"

const parse = (module: Readonly<Record<string, unknown>>, from: string): Effect.Effect<Agents, Failure> => {
  const exported = module["default"]
  const whole = Predicate.isReadonlyObject(exported) && !Agent.isAgent(exported) ? { ...exported, ...module } : module
  const found = Agent.isAgent(exported)
    ? { [exported.name]: exported }
    : whole["agents"] ?? (Predicate.isReadonlyObject(exported) ? exported : undefined)
  if (!Predicate.isReadonlyObject(found)) return Effect.fail(failed(`"${from}" exports no agents`, wanted))
  const agents: Record<string, Agent.Any> = {}
  for (const [name, agent] of Object.entries(found)) {
    if (name === "layer" && whole["agents"] === undefined) continue
    if (!Agent.isAgent(agent)) return Effect.fail(failed(`"${name}" in "${from}" is no Agent`, wanted))
    agents[name] = agent
  }
  if (Object.keys(agents).length === 0) return Effect.fail(failed(`"${from}" exports no agents`, wanted))
  const layer = whole["layer"] ?? Layer.empty
  if (!Layer.isLayer(layer)) return Effect.fail(failed(`\`layer\` of "${from}" is no Layer`, wanted))
  return Effect.succeed({ agents, layer: layer as unknown as Agents["layer"], from })
}

/** Imports a module of the user's. */
const load = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const full = path.resolve(file)
  if (!(yield* Effect.orElseSucceed(fs.exists(full), () => false))) {
    return yield* failed(`There is no file "${file}"`, "Name a module with agents: --agents FILE")
  }
  const url = yield* Effect.orDie(path.toFileUrl(full))
  const module = yield* Effect.tryPromise({
    try: () => import(url.href) as Promise<Readonly<Record<string, unknown>>>,
    catch: (cause) => failed(`"${file}" cannot be loaded: ${tell(cause).message}`, undefined, cause)
  })
  return yield* parse(module, file)
})

/** The agents of a module, or the assistant with what the configuration gives it. */
export const of = Effect.fnUntraced(function*(file: string | undefined, stack: Stack) {
  const named = file ?? stack.agents
  if (named !== undefined) return yield* load(named)
  const context = yield* Effect.context<FileSystem.FileSystem | Path.Path>()
  const { registry } = stack
  const tools = yield* registry.instances("tool")
  const servers = yield* registry.instances("mcp")
  const [toolkit, mcpServers] = yield* Effect.provideService(
    Effect.all([Extensions.toolkit, Extensions.mcpServers]),
    Extension.ExtensionRegistry,
    registry
  )
  const layers = [
    ...tools.map((instance) => registry.layer("tool", instance)),
    ...servers.map((instance) => registry.layer("mcp", instance)),
    Layer.provide(assistant.layer, Layer.succeedContext(context))
  ] as ReadonlyArray<Layer.Layer<never, unknown>>
  const agents: Agents = {
    agents: { assistant: assistant.make(toolkit, mcpServers) },
    layer: layers.reduce((all, layer) => Layer.merge(all, layer)),
    from: "the default assistant"
  }
  return agents
})

/** The agent of that name, or the only one. */
export const pick = ({ agents, from }: Agents, name: string | undefined): Effect.Effect<Agent.Any, Failure> => {
  const names = Object.keys(agents)
  if (name === undefined) {
    const [only] = names
    return names.length === 1
      ? Effect.succeed(agents[only!]!)
      : Effect.fail(
        misused(`There are ${names.length} agents in ${from}: ${names.join(", ")}`, "Name one: --agent NAME")
      )
  }
  return Object.hasOwn(agents, name)
    ? Effect.succeed(agents[name]!)
    : Effect.fail(misused(`There is no agent "${name}" in ${from}`, `There are: ${names.join(", ")}`))
}

/** What a program that was put together at run time lacks shows as a defect; it is the user's to mend. */
export const explainMissing = (defect: unknown): Failure | undefined => {
  const missing = Predicate.hasProperty(defect, "message") && typeof defect.message === "string"
    ? /^Service not found: (\S+)/.exec(defect.message)
    : null
  return missing === null
    ? undefined
    : failed(
      `The agents need a service that nothing provides: ${missing[1]}`,
      "Export a `layer` beside them that provides it"
    )
}
