/**
 * The extensions of this package: its Layers, described by the same means as those of other packages. A Layer's module is
 * imported when the Layer is built, so that listing them loads no client.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Extension from "../../services/Extension.ts"
import type { ExtensionError } from "../../services/ExtensionError.ts"
import { connections, tools } from "./internal/connections.ts"
import { models } from "./internal/models.ts"
import { sandboxes } from "./internal/sandboxes.ts"
import { sessions } from "./internal/sessions.ts"
import { tracers } from "./internal/tracers.ts"

/**
 * All of them.
 *
 * @category constants
 * @since 0.1.0
 */
export const extensions: ReadonlyArray<Extension.Any> = [
  ...sessions,
  ...models,
  ...sandboxes,
  ...tracers,
  ...connections,
  ...tools
]

/**
 * Where a Layer of this package stands in the catalogue: as these extensions, or only in code, for a reason.
 *
 * @category models
 * @since 0.1.0
 */
export type Entry =
  | { readonly extensions: ReadonlyArray<string> }
  | { readonly inCodeOnly: string }

const as = (...extensions: ReadonlyArray<string>): Entry => ({ extensions })
const inCodeOnly = (reason: string): Entry => ({ inCodeOnly: reason })

/**
 * Each Layer module of this package, below `agent-layers/layers/`.
 *
 * @category constants
 * @since 0.1.0
 */
export const modules: Readonly<Record<string, Entry>> = {
  "session/SessionMemory": as("memory"),
  "session/SessionSqlite": as("sqlite"),
  "session/SessionPostgres": as("postgres"),
  "session/SessionRedis": as("redis"),
  "session/SessionS3": as("s3"),
  "session/SessionOpenAIConversations": as("openai-conversations"),
  "session/SessionEncrypted": as("encrypted"),
  "session/SessionCompressed": as("compressed"),
  "session/SessionCached": as("cached"),
  "session/SessionCompacted": as("compacted"),
  "session/SessionRetention": as("retention"),
  "session/SessionFallback": as("fallback"),
  "model/ModelOpenAIResponses": as("openai"),
  "model/ModelOpenAIChat": as("openai-chat"),
  "model/ModelScripted": as("scripted"),
  "model/ModelRouter": as("router"),
  "model/ModelFallback": as("fallback"),
  "model/ModelRetry": as("retry"),
  "model/ModelTimeouts": as("timeouts"),
  "model/ModelConcurrency": as("concurrency"),
  "model/OpenAICompaction": inCodeOnly(
    "it is a function for SessionCompacted; \"compacted\" asks the configured model"
  ),
  "sandbox/SandboxBubblewrap": as("bubblewrap"),
  "sandbox/SandboxUnconfined": as("unconfined"),
  "sandbox/SandboxVirtual": as("virtual"),
  "tracer/TracerConsole": as("console"),
  "tracer/TracerMemory": as("memory"),
  "tracer/TracerJsonLines": as("json-lines"),
  "tracer/TracerSqlite": as("sqlite"),
  "tracer/TracerOpenAI": as("openai"),
  "tracer/TracerOtlp": as("otlp"),
  "tracer/TracerOpenTelemetry": as("opentelemetry"),
  "tracer/TracerRedacted": as("redacted"),
  "tracer/TracerBatch": inCodeOnly("it stands around an exporter of the program's own; those here have it inside"),
  "tracer/TracerFiltered": inCodeOnly(
    "it stands around an exporter of the program's own, and its conditions are functions"
  ),
  "mcp/McpStdio": as("stdio"),
  "mcp/McpHttp": as("http"),
  "mcp/McpSse": as("sse"),
  "mcp/McpFiltered": as("filtered"),
  "mcp/McpInProcess": inCodeOnly("its tools are functions"),
  "mcp/McpServers": inCodeOnly("it is a set of servers by name, as a configuration is"),
  "tools/ToolsSandbox": as("sandbox", "sandbox-read-only"),
  "tools/ToolsSql": inCodeOnly("it asks the program's own SqlClient"),
  "sql/SqlSqlite": inCodeOnly("it is a SqlClient, which no extension needs")
}

/**
 * Registers all of them until the scope closes.
 *
 * @category registering
 * @since 0.1.0
 */
export const register = (
  registry: Extension.ExtensionRegistry["Service"]
): Effect.Effect<void, ExtensionError, Scope.Scope> =>
  Effect.forEach(extensions, (extension) => registry.register(extension, { origin: "agent-layers" }), {
    discard: true
  })

/**
 * Registers all of them for as long as the Layer lives.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<never, ExtensionError, Extension.ExtensionRegistry> = Layer.effectDiscard(
  Effect.flatMap(Extension.ExtensionRegistry, register)
)
