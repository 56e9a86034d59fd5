import type * as Tool from "effect/ai/Tool"
import type * as Toolkit from "effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ToolsSandbox from "../../../layers/tools/ToolsSandbox.ts"
import * as Extension from "../../../services/Extension.ts"
import * as Sandbox from "../../../services/Sandbox.ts"
import * as Setting from "../../../services/Setting.ts"
import { lazily, peers, released } from "./builtIn.ts"

const connection = {
  connect: Setting.choice(["build", "use"], "When to connect: at the start, or when it is first asked.", {
    default: "build"
  }),
  cacheTools: Setting.boolean("Whether the list of tools is kept until it changes.", { default: true }),
  connectTimeout: Setting.duration("How long connecting may take.", { default: "30 seconds" }),
  listTimeout: Setting.duration("How long listing the tools may take.", { default: "15 seconds" }),
  callTimeout: Setting.duration("How long a call may take.", { default: "1 minute" })
} as const

const timeoutsOf = <A extends Setting.Values<typeof connection>>(
  { callTimeout, connectTimeout, listTimeout, ...settings }: A
) => ({ ...settings, timeouts: { connect: connectTimeout, list: listTimeout, call: callTimeout } })

const stdio = Extension.make({
  ...released,
  kind: "mcp",
  name: "stdio",
  description: "An MCP server that runs as a child process.",
  packages: peers.mcp,
  config: {
    command: Setting.text("The program, as a path or a name that is looked for in `PATH`."),
    args: Setting.list("Its arguments.", { optional: true }),
    env: Setting.secrets("Variables for it; no others of this process are passed on.", { optional: true }),
    cwd: Setting.text("Its directory. Absent: that of this process.", { optional: true }),
    killAfter: Setting.duration("How long it has to leave before it is killed.", { default: "2 seconds" }),
    ...connection
  },
  layer: (settings, { server }) =>
    lazily(() => import("../../../layers/mcp/McpStdio.ts"), (module) => module.layer(server, timeoutsOf(settings)))
})

const remote = {
  url: Setting.text("The server's endpoint, without a user name or password."),
  headers: Setting.secrets("Headers of every request.", { optional: true }),
  token: Setting.secret("A bearer token.", { optional: true }),
  ...connection
} as const

const http = Extension.make({
  ...released,
  kind: "mcp",
  name: "http",
  description: "An MCP server behind streamable HTTP.",
  packages: peers.mcp,
  config: remote,
  layer: ({ token, ...settings }, { server }) =>
    lazily(() => import("../../../layers/mcp/McpHttp.ts"), (module) =>
      module.layer(server, {
        ...timeoutsOf(settings),
        ...(token === undefined ? undefined : { token: Effect.succeed(token) })
      }))
})

const sse = Extension.make({
  ...released,
  kind: "mcp",
  name: "sse",
  description: "An MCP server behind the older HTTP with server-sent events.",
  packages: peers.mcp,
  config: remote,
  layer: ({ token, ...settings }, { server }) =>
    lazily(() => import("../../../layers/mcp/McpSse.ts"), (module) =>
      module.layer(server, {
        ...timeoutsOf(settings),
        ...(token === undefined ? undefined : { token: Effect.succeed(token) })
      }))
})

const filtered = Extension.decorator({
  ...released,
  kind: "mcp",
  name: "filtered",
  description: "Shows some of a server's tools and hides the others.",
  config: {
    include: Setting.list("The tools to show. Absent: all.", { optional: true }),
    exclude: Setting.list("The tools to hide.", { optional: true })
  },
  layer: (settings, { server }) =>
    lazily(() => import("../../../layers/mcp/McpFiltered.ts"), (module) => module.layer(server, settings))
})

export const connections: ReadonlyArray<Extension.Any> = [stdio, http, sse, filtered]

const workspace = Sandbox.layerSession()

const sandboxTools = <Tools extends Record<string, Tool.Any>, E>(options: {
  readonly name: string
  readonly description: string
  readonly toolkit: Toolkit.Toolkit<Tools>
  readonly layer: Layer.Layer<Tool.HandlersFor<Tools>, E, Sandbox.SandboxSession>
}) =>
  Extension.make({
    ...released,
    kind: "tool",
    name: options.name,
    description: options.description,
    needs: ["sandbox"],
    config: {},
    toolkit: options.toolkit,
    layer: () => Layer.provide(options.layer, workspace)
  })

const sandbox = sandboxTools({
  name: "sandbox",
  description: "Run commands and read, write and list files, in a workspace of the configured sandbox.",
  toolkit: ToolsSandbox.toolkit,
  layer: ToolsSandbox.layer
})

const sandboxReadOnly = sandboxTools({
  name: "sandbox-read-only",
  description: "Read and list files in a workspace of the configured sandbox.",
  toolkit: ToolsSandbox.toolkitReadOnly,
  layer: ToolsSandbox.layerReadOnly
})

export const tools: ReadonlyArray<Extension.Any> = [sandbox, sandboxReadOnly]
