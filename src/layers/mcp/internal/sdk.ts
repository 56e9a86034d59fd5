import * as Effect from "effect/Effect"
import { McpError } from "../../../services/McpServer.ts"

/** The parts of the package that every transport needs. Its declarations stay out of the public types of this package. */
const parts = () =>
  Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/types.js")
  ]).then(([client, types]) => ({
    Client: client.Client,
    McpError: types.McpError,
    ResultSchema: types.ResultSchema,
    ToolListChangedNotificationSchema: types.ToolListChangedNotificationSchema
  }))

export type Sdk = Awaited<ReturnType<typeof parts>>
export type { Client } from "@modelcontextprotocol/sdk/client/index.js"
export type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
export type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js"

/** Loads modules of the package, which is an optional peer, when a connection is made and not before. */
export const load = <A>(server: string, modules: () => Promise<A>): Effect.Effect<A, McpError> =>
  Effect.tryPromise({
    try: modules,
    catch: (cause) =>
      new McpError({
        server,
        operation: "connect",
        reason: "Unavailable",
        description: "the package `@modelcontextprotocol/sdk` cannot be loaded; install it next to agent-layers: " +
          "npm install @modelcontextprotocol/sdk zod",
        cause
      })
  })

export const loadSdk = (server: string): Effect.Effect<Sdk, McpError> => load(server, parts)
