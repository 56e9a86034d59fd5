/** What the extensions of this package have in common. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Extension from "../../../services/Extension.ts"
import { ExtensionError, InvalidSettings, LoadFailed } from "../../../services/ExtensionError.ts"
import * as Setting from "../../../services/Setting.ts"

/** Of the package: all of them are released together. */
export const released = { version: Extension.version, compatibleWith: Extension.version } as const

/** The packages that Layers speak through, at the ranges of this package's peers. */
export const peers = {
  openai: { openai: "^7.57.0" },
  redis: { redis: "^6.3.1" },
  postgres: { "@effect/sql-pg": "^4.0.5" },
  s3: { "@aws-sdk/client-s3": "^3.1173.0" },
  mcp: { "@modelcontextprotocol/sdk": "^1.32.2" },
  openTelemetry: { "@effect/opentelemetry": "^4.1.0", "@opentelemetry/api": "^1.9.0" }
} as const

/** Imports a Layer's module when the Layer is built, so that listing loads no client. */
export const lazily = <M, P, E, R>(
  load: () => Promise<M>,
  layer: (module: M) => Layer.Layer<P, E, R>
): Layer.Layer<P, E | ExtensionError, R> =>
  Layer.unwrap(Effect.map(
    Effect.tryPromise({
      try: load,
      catch: (cause) =>
        new ExtensionError({
          extension: "agent-layers",
          reason: new LoadFailed({
            stage: "import",
            description: `a module of agent-layers could not be loaded (${
              cause instanceof Error ? cause.message : String(cause)
            }); install agent-layers and its peers anew`,
            cause
          })
        })
    }),
    layer
  ))

/** Settings that are right one by one, and not together. */
export const refuse = (extension: string, path: string, message: string): Layer.Layer<unknown, ExtensionError> =>
  Layer.unwrap(Effect.fail(
    new ExtensionError({ extension, reason: new InvalidSettings({ issues: [{ path, message }] }) })
  ))

/** What every backend of sessions that `Session.make` makes can be told. */
export const sessionSettings = {
  onCorruptItem: Setting.choice(
    ["fail", "skip"],
    "What reading does with a stored entry that is not an item: fail, or leave it out and log it.",
    { default: "fail" }
  ),
  commitTimeout: Setting.duration("How long a commit may take.", { default: "30 seconds" })
} as const

/** What every server of OpenAI's APIs can be told. */
export const openAiSettings = {
  apiKey: Setting.secret("The key, sent as a bearer token. Servers that check no key still need one.", {
    variable: "OPENAI_API_KEY"
  }),
  baseURL: Setting.text("The address, up to and with the version.", {
    default: "https://api.openai.com/v1",
    variable: "OPENAI_BASE_URL"
  }),
  organization: Setting.text("The organization to bill.", { optional: true, variable: "OPENAI_ORG_ID" }),
  project: Setting.text("The project to bill.", { optional: true, variable: "OPENAI_PROJECT_ID" })
} as const
