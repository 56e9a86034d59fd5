/**
 * A set of MCP servers by name, for programs that do not know theirs when they are compiled: the servers of a configuration
 * file, of a tenant, of a plugin. There is one connection for each name. A program that knows its servers declares a tag for
 * each and provides that by `McpStdio.layer` or another: the compiler then sees what is missing.
 *
 * An agent asks for tags; `layerOf` gives a server of the set a tag.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { McpConnection, McpServer } from "../../services/McpServer.ts"
import { McpError } from "../../services/McpServer.ts"
import type { HttpOptions } from "./internal/http.ts"
import { makeHttp, makeSse } from "./internal/http.ts"
import type { StdioOptions } from "./internal/stdio.ts"
import { make as makeStdio } from "./internal/stdio.ts"

/**
 * How a server is reached: a program to start, an address, or how to make the connection. Connections are made at first
 * use, unless `connect` says otherwise.
 *
 * @category options
 * @since 0.1.0
 */
export type Entry =
  | (StdioOptions & { readonly type?: "stdio" | undefined })
  | (HttpOptions & { readonly type?: "http" | "sse" | undefined })
  | { readonly open: Effect.Effect<McpConnection, McpError, Scope.Scope> }

/**
 * The form that configuration files have for a server: `{ "command": "npx", "args": [...] }` or `{ "url": "https://..." }`,
 * with `"type": "sse"` for a server that speaks only that. What it decodes to is an `Entry`.
 *
 * **Example**
 *
 * ```ts
 * const File = Schema.fromJsonString(Schema.Struct({ mcpServers: Schema.Record(Schema.String, McpServers.EntryFromFile) }))
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const EntryFromFile = Schema.Union([
  Schema.Struct({
    type: Schema.optionalKey(Schema.Literal("stdio")),
    command: Schema.NonEmptyString,
    args: Schema.optionalKey(Schema.Array(Schema.String)),
    env: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
    cwd: Schema.optionalKey(Schema.String)
  }),
  Schema.Struct({
    type: Schema.optionalKey(Schema.Literals(["http", "sse"])),
    url: Schema.NonEmptyString,
    headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  })
])

/**
 * The set.
 *
 * @category models
 * @since 0.1.0
 */
export class McpServers extends Context.Service<McpServers, {
  /** In the order in which they were added. */
  readonly names: Effect.Effect<ReadonlyArray<string>>
  /** The one connection of that name. Fails with `Unavailable` where there is none of the name. */
  readonly get: (name: string) => Effect.Effect<McpConnection, McpError>
  /**
   * Adds a server until the Scope closes, which ends its connection. Fails with `Unavailable` where the name is taken, and
   * with what making the connection fails with.
   */
  readonly add: (name: string, entry: Entry) => Effect.Effect<void, McpError, Scope.Scope>
}>()("agent-layers/layers/mcp/McpServers") {}

const open = (name: string, entry: Entry): Effect.Effect<McpConnection, McpError, Scope.Scope> => {
  if ("open" in entry) return entry.open
  const lazily = <A extends Entry>(entry: A): A => ({ connect: "use", ...entry })
  if ("command" in entry) return makeStdio(name, lazily(entry))
  return entry.type === "sse" ? makeSse(name, lazily(entry)) : makeHttp(name, lazily(entry))
}

/**
 * A set with these servers, which others can be added to. Its connections end when the Scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  entries: Readonly<Record<string, Entry>> = {}
): Effect.fn.Return<McpServers["Service"], McpError, Scope.Scope> {
  const connections = new Map<string, McpConnection | undefined>()

  const unavailable = (server: string, operation: string, description: string) =>
    new McpError({ server, operation, reason: "Unavailable", description })

  const add = (name: string, entry: Entry): Effect.Effect<void, McpError, Scope.Scope> =>
    Effect.gen(function*() {
      // Taken before it is made: what is made may take its time, and somebody else may want the name.
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          if (connections.has(name)) return unavailable(name, "add", "there is a server of that name already")
          connections.set(name, undefined)
          return Effect.void
        }),
        () => Effect.sync(() => connections.delete(name))
      )
      connections.set(name, yield* open(name, entry))
    })

  for (const [name, entry] of Object.entries(entries)) yield* add(name, entry)

  const names = Effect.sync(() => [...connections.keys()].filter((name) => connections.get(name) !== undefined))

  return McpServers.of({
    names,
    add,
    get: (name) =>
      Effect.suspend(() => {
        const connection = connections.get(name)
        if (connection !== undefined) return Effect.succeed(connection)
        return Effect.flatMap(names, (names) =>
          unavailable(
            name,
            "get",
            `no server of that name was added; there are: ${names.map((name) => `"${name}"`).join(", ") || "none"}`
          ))
      })
  })
})

/**
 * **Example**
 *
 * ```ts
 * McpServers.layer({
 *   files: { command: "mcp-server-filesystem", args: ["/data"] },
 *   search: { url: "https://example.com/mcp" }
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (entries?: Readonly<Record<string, Entry>>): Layer.Layer<McpServers, McpError> =>
  Layer.effect(McpServers, make(entries))

/**
 * Provides a server's tag with the connection of that name in the set, or of another.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOf = <Self, Name extends string>(
  server: McpServer<Self, Name>,
  name?: string
): Layer.Layer<Self, McpError, McpServers> =>
  Layer.effect(server, Effect.flatMap(McpServers, (servers) => servers.get(name ?? server.serverName)))
