import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { McpConnection, McpError, McpTool } from "../../McpServer.ts"
import { isMcpError } from "../../McpServer.ts"
import type { Law } from "../Law.ts"
import { eventually, failure, holds, LawBroken } from "../Law.ts"

/**
 * What the laws are run over: connections to a server that has the tools of `tools`, and what can be done to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpServerSubject {
  /** A connection that ends with its Scope. Those that are open at the same time reach the same server. */
  readonly open: Effect.Effect<McpConnection, unknown, Scope.Scope>
  /** What the subject cannot show. Default: nothing. */
  readonly cannot?: ReadonlyArray<Ability> | undefined
  /** Ends the connections that there are, from the server's side. The server can be reached again at once. */
  readonly drop?: Effect.Effect<void, unknown> | undefined
  /** How many connections (or child processes) the server side has now. Nobody but the laws makes any. */
  readonly connections?: Effect.Effect<number, unknown> | undefined
  /** How many connections were made so far. */
  readonly connected?: Effect.Effect<number, unknown> | undefined
}

/**
 * What some subjects cannot show.
 *
 * @category models
 * @since 0.1.0
 */
export type Ability =
  /** The server announces that its tools changed. */
  "announcements"

/**
 * A tool of the server that the laws talk to. Its name begins with `law_`.
 *
 * - `law_echo`: one text, the argument `text`
 * - `law_same`: as structured content, `{ arguments }`: all arguments; as content, a text
 * - `law_fail`: a result with `isError`, its text the argument `text`
 * - `law_media`: the content of `media`
 * - `law_wait`: no result before the call is cancelled
 * - `law_begun`: one text, the number of calls of `law_wait` that have begun so far
 * - `law_cancelled`: one text, the number of calls of `law_wait` that were cancelled so far
 * - `law_change`: adds the tool `law_added`, or takes it away where it is there, and announces that the tools changed
 *
 * @category models
 * @since 0.1.0
 */
export const tools: ReadonlyArray<McpTool> = [
  {
    name: "law_echo",
    description: "Says it again",
    inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
    annotations: { readOnlyHint: true, title: "Echo" }
  },
  { name: "law_same", description: "Gives its arguments back", inputSchema: { type: "object" } },
  {
    name: "law_fail",
    description: "Fails",
    inputSchema: { type: "object", properties: { text: { type: "string" } } },
    annotations: { destructiveHint: false }
  },
  { name: "law_media", inputSchema: { type: "object", properties: {} } },
  { name: "law_wait", description: "Waits", inputSchema: { type: "object" } },
  { name: "law_begun", description: "Counts", inputSchema: { type: "object" } },
  { name: "law_cancelled", description: "Counts", inputSchema: { type: "object" } },
  { name: "law_change", description: "Changes the tools", inputSchema: { type: "object" } }
]

/**
 * What `law_change` adds.
 *
 * @category models
 * @since 0.1.0
 */
export const added: McpTool = { name: "law_added", description: "Came later", inputSchema: { type: "object" } }

/**
 * What `law_media` gives, in the form of the protocol.
 *
 * @category models
 * @since 0.1.0
 */
export const media: ReadonlyArray<Readonly<Record<string, unknown>>> = [
  { type: "text", text: "a text" },
  { type: "image", data: "aW1hZ2U=", mimeType: "image/png" },
  { type: "audio", data: "YXVkaW8=", mimeType: "audio/wav" },
  { type: "resource", resource: { uri: "law:///text.txt", mimeType: "text/plain", text: "inside" } },
  { type: "resource", resource: { uri: "law:///data.bin", mimeType: "application/x-law", blob: "ZGF0YQ==" } },
  { type: "resource", resource: { uri: "law:///dot.gif", mimeType: "image/gif", blob: "Z2lm" } },
  { type: "resource_link", uri: "law:///linked", name: "linked", description: "elsewhere" }
]

export const law = (
  name: string,
  check: (subject: McpServerSubject) => Effect.Effect<void, unknown, Scope.Scope>,
  missing?: (subject: McpServerSubject) => string | undefined
): Law<McpServerSubject> => ({
  name,
  missing,
  check: (subject) =>
    Effect.mapError(check(subject), (error) =>
      isMcpError(error)
        ? new LawBroken({
          operation: error.operation,
          expected: "no failure",
          got: `${error.reason}: ${error.message}`
        })
        : error)
})

export const need = <K extends "drop" | "connections" | "connected">(key: K, what: string) => ({
  missing: (subject: McpServerSubject) => subject[key] === undefined ? what : undefined,
  of: (subject: McpServerSubject) => subject[key]!
})

export const announcing = (subject: McpServerSubject): string | undefined =>
  subject.cannot?.includes("announcements") === true ? "a server that announces that its tools changed" : undefined

export const refused = <A, E, R>(
  operation: string,
  reasons: ReadonlyArray<McpError["reason"]>,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<McpError, LawBroken, R> => {
  const expected = `McpError ${reasons.join(" or ")}`
  return Effect.flatMap(failure(operation, expected, effect), (error) =>
    isMcpError(error)
      ? Effect.as(
        holds(operation, expected, reasons.includes(error.reason), `${error.reason}: ${error.message}`),
        error
      )
      : Effect.fail(new LawBroken({ operation, expected, got: String(error) })))
}

/** The text of a result. */
export const said = (connection: McpConnection, name: string, arguments_?: unknown) =>
  Effect.map(connection.callTool(name, arguments_), ({ content }) => content.map(({ text }) => text).join("|"))

export const echo = (connection: McpConnection, text: string) => said(connection, "law_echo", { text })

/** A call of `law_wait` that has begun at the server. */
export const waiting = (connection: McpConnection) =>
  Effect.gen(function*() {
    const begun = Effect.map(said(connection, "law_begun"), Number)
    const before = yield* begun
    const call = yield* Effect.forkChild(connection.callTool("law_wait", {}), { startImmediately: true })
    yield* eventually("law_wait", "the call begins at the server", begun, (count) => count > before)
    return call
  })

export const cancelled = (connection: McpConnection) => Effect.map(said(connection, "law_cancelled"), Number)
