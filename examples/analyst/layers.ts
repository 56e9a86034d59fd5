/**
 * Which Layers this start uses, and why. All else asks for services and does not know.
 */
import * as ModelOpenAIResponses from "agent-layers/layers/model/ModelOpenAIResponses"
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import type { ModelError } from "agent-layers/services/ModelError"
import type { ModelProvider } from "agent-layers/services/ModelProvider"
import { Sandbox } from "agent-layers/services/Sandbox"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Redacted from "effect/Redacted"
import { AnalystError } from "./errors.ts"
import * as ModelOffline from "./offline/ModelOffline.ts"

/** A variable that is set, and not to nothing. */
const variable = (name: string) =>
  Config.option(Config.String(name)).pipe(Config.map(Option.filter((text) => text !== "")))

const environment = Config.all({
  key: variable("OPENAI_API_KEY"),
  url: variable("OPENAI_BASE_URL"),
  model: variable("AGENT_LAYERS_MODEL")
})

/** An address without a user name and password in it. */
const isServer = (url: string) => /^https?:\/\/[^\s/@]+(?:\/[^\s?#]*)?$/.test(url)

export const defaultModel = "gpt-5.4-mini"

/** A key means a real model. Servers that check none take any. */
export const chooseModel = Effect.gen(function*() {
  const { key, model, url } = yield* environment
  const baseURL = Option.getOrElse(url, () => "https://api.openai.com/v1")
  if (Option.isNone(key)) {
    const why = Option.isSome(url)
      ? "OPENAI_BASE_URL is set, but no OPENAI_API_KEY: any will do for a server that checks none"
      : "OPENAI_API_KEY is not set"
    const layer: Layer.Layer<ModelProvider, ModelError> = ModelOffline.layer
    return { line: `offline: rules, no language model (${why})`, layer }
  }
  if (!isServer(baseURL)) {
    return yield* new AnalystError({
      message: "OPENAI_BASE_URL is not the plain address of a server",
      advice: "Set it to one such as http://localhost:11434/v1, without user name, password and query"
    })
  }
  const options = {
    apiKey: Redacted.make(key.value),
    baseURL,
    model: Option.getOrElse(model, () => defaultModel)
  }
  return { line: `${options.model} at ${baseURL}`, layer: ModelOpenAIResponses.layer(options) }
})

/** Commands run behind walls or not at all, unless somebody asks for it in so many words. */
export const chooseSandbox = (isUnconfined: boolean) =>
  isUnconfined
    ? Effect.succeed({
      line: "unconfined, as --unconfined asks: commands can do what you can do",
      hasShell: true,
      layer: SandboxUnconfined.layer()
    })
    : SandboxBubblewrap.make().pipe(Effect.match({
      onSuccess: (sandbox) => ({
        line: `bubblewrap: commands see the workspace and the programs of this machine${
          sandbox.guarantees.network ? ", and no network" : ""
        }`,
        hasShell: true,
        layer: Layer.succeed(Sandbox, sandbox)
      }),
      onFailure: ({ reason }) => ({
        line: `read-only file tools and no shell. ${reason.message}; --unconfined gives a shell without one`,
        hasShell: false,
        layer: SandboxUnconfined.layer()
      })
    }))

/** Each folder has a conversation of its own, so that what was asked about one is not told with another. */
export const chooseConversation = (name: Option.Option<string>, dir: string) =>
  Effect.map(Path.Path, (path) => {
    const folder = path.resolve(dir)
    return Option.getOrElse(name, () => folder === path.resolve() ? "default" : folder)
  })

/** A file below the current directory, where only this user may look. */
export const chooseSession = Effect.fnUntraced(function*(file: Option.Option<string>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = path.resolve(".agent-layers")
  if (Option.isNone(file)) {
    yield* fs.makeDirectory(folder, { mode: 0o700 }).pipe(
      Effect.catchReason("PlatformError", "AlreadyExists", () => Effect.void),
      Effect.mapError((cause) =>
        new AnalystError({
          message: `Conversations cannot be kept in "${folder}": ${cause.reason._tag}`,
          advice: "Name a file where you may write: --database FILE",
          cause
        })
      )
    )
  }
  const filename = Option.match(file, { onNone: () => path.join(folder, "conversations.db"), onSome: path.resolve })
  return { line: filename, layer: SessionSqlite.layer({ filename }) }
})
