/** Flags that several commands have. */
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"

export const Json = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Print one JSON document, errors too")
  )
})

export const ConfigFile = GlobalFlag.Setting("config")({
  flag: Flag.String("config").pipe(
    Flag.optional,
    Flag.withMetavar("FILE"),
    Flag.withDescription("The configuration. Default: agent-layers.config.{ts,js,json,yaml} here, if there is one")
  )
})

export const Overlay = GlobalFlag.Setting("env")({
  flag: Flag.String("env").pipe(
    Flag.optional,
    Flag.withMetavar("NAME"),
    Flag.withDescription("The environment of the configuration to use. Default: AGENT_LAYERS_ENV")
  )
})

export const agents = Flag.File("agents").pipe(
  Flag.optional,
  Flag.withMetavar("FILE"),
  Flag.withDescription("A module that exports agents. Default: the one in the configuration, or an assistant")
)

export const agent = Flag.String("agent").pipe(
  Flag.optional,
  Flag.withMetavar("NAME"),
  Flag.withDescription("Which of the agents. Not needed where there is one")
)

export const conversation = Flag.String("conversation").pipe(
  // The runner takes "new" for an id that it is to make.
  Flag.filter((name) => name !== "" && name !== "new", () => "a name other than \"new\""),
  Flag.withAlias("c"),
  Flag.optional,
  Flag.withMetavar("NAME")
)

export const model = Flag.String("model").pipe(
  Flag.withAlias("m"),
  Flag.optional,
  Flag.withMetavar("NAME"),
  Flag.withDescription("The model. Default: the agent's, or the provider's")
)

export const approve = Flag.Literals("approve", ["ask", "all", "none"]).pipe(
  Flag.withDefault("ask"),
  Flag.withDescription("Calls that need an approval: ask in the terminal, allow all, or refuse all. Default: ask")
)

export const maxTurns = Flag.Int("max-turns").pipe(
  Flag.filter((n) => n > 0, () => "a number above 0"),
  Flag.optional,
  Flag.withDescription("Model calls before a run gives up. Default: 10")
)

export const session = Flag.String("session").pipe(
  Flag.withDefault("default"),
  Flag.withMetavar("NAME"),
  Flag.withDescription("Which of the configured sessions. Default: default")
)

export const yes = Flag.Boolean("yes").pipe(
  Flag.withAlias("y"),
  Flag.withDefault(false),
  Flag.withDescription("Do not ask")
)

/** The variable that holds the keys of `serve`. */
export const keysVariable = "AGENT_LAYERS_SERVE_KEYS"
