/**
 * The contract of a connection to an MCP server, as laws that any layer can be held to. They talk to a server that has the
 * tools listed here, which the author of a layer writes in the form that the layer reaches.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  added,
  announcing,
  cancelled,
  echo,
  law,
  type McpServerSubject,
  need,
  refused,
  said,
  tools,
  waiting
} from "./internal/mcpServerSubject.ts"
import type { Law } from "./Law.ts"
import { allowTimeFor, equal, eventually, holds, inTime, stays } from "./Law.ts"

export type {
  /**
   * What some subjects cannot show.
   *
   * @category models
   * @since 0.1.0
   */
  Ability,
  /**
   * What the laws are run over.
   *
   * @category models
   * @since 0.1.0
   */
  McpServerSubject
} from "./internal/mcpServerSubject.ts"

export {
  /**
   * What `law_change` adds.
   *
   * @category models
   * @since 0.1.0
   */
  added,
  /**
   * What `law_media` gives, in the form of the protocol.
   *
   * @category models
   * @since 0.1.0
   */
  media,
  /**
   * The tools of the server that the laws talk to.
   *
   * @category models
   * @since 0.1.0
   */
  tools,
  waiting
} from "./internal/mcpServerSubject.ts"

const drop = need("drop", "a way to end connections from the server's side")
const connections = need("connections", "a way to count connections")
const connected = need("connected", "a way to count connections that were made")

const text = (text: string) => ({ type: "input_text", text })

const listing: ReadonlyArray<Law<McpServerSubject>> = [
  law(
    "all tools are listed, with description, input schema and annotations, in the server's order",
    (subject) =>
      Effect.gen(function*() {
        const connection = yield* subject.open
        const listed = yield* connection.listTools
        yield* equal("names", listed.map(({ name }) => name), tools.map(({ name }) => name))
        for (const [index, { annotations, description, inputSchema, name }] of tools.entries()) {
          const got = listed[index]!
          yield* equal(`description of ${name}`, got.description, description)
          yield* equal(`annotations of ${name}`, got.annotations, annotations)
          yield* equal(`inputSchema of ${name}`, got.inputSchema, inputSchema)
        }
      })
  ),

  law("what is done to a listing changes no later one", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const first = yield* connection.listTools
      yield* Effect.exit(Effect.sync(() => Object.assign(first[0]!.inputSchema, { properties: {} })))
      yield* Effect.exit(Effect.sync(() => (first as Array<unknown>).pop()))
      const second = yield* connection.listTools
      yield* equal("names", second.map(({ name }) => name), tools.map(({ name }) => name))
      yield* equal("inputSchema", second[0]!.inputSchema, tools[0]!.inputSchema)
    })),

  law("a change of the tools is announced, and the next listing has it", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      yield* connection.listTools
      for (const names of [[...tools.map(({ name }) => name), added.name], tools.map(({ name }) => name)]) {
        const heard = yield* Effect.forkChild(Stream.runHead(connection.toolsChanged), { startImmediately: true })
        yield* allowTimeFor("the listener to subscribe", "50 millis")
        yield* connection.callTool("law_change", {})
        const element = yield* inTime("toolsChanged", Fiber.join(heard))
        yield* holds("toolsChanged", "an element", Option.isSome(element), element)
        yield* equal("names", (yield* connection.listTools).map(({ name }) => name), names)
      }
    }), announcing)
]

const calling: ReadonlyArray<Law<McpServerSubject>> = [
  law("a call gives what the tool answers", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      yield* equal("law_echo", yield* connection.callTool("law_echo", { text: "hello" }), {
        content: [text("hello")],
        isError: false
      })
    })),

  law("arguments arrive as they were given: unicode, nesting, null, a megabyte", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const given = {
        unicode: "\u00e4\u6f22\ud83d\ude00\u2028\u0000\n\"\\",
        nested: { list: [1, -2.5, true, null, { deep: [] }], empty: {} },
        "a key": "with space"
      }
      const { structuredContent } = yield* connection.callTool("law_same", given)
      yield* equal("law_same", structuredContent, { arguments: given })
      const long = "\u00e9\n".repeat(350_000)
      const answer = yield* echo(connection, long)
      yield* holds("law_echo", `the same ${long.length} characters`, answer === long, `${answer.length} characters`)
    })),

  law(
    "no arguments are an empty object, and what is no object is a result that says so",
    (subject) =>
      Effect.gen(function*() {
        const connection = yield* subject.open
        const { structuredContent } = yield* connection.callTool("law_same", undefined)
        yield* equal("law_same", structuredContent, { arguments: {} })
        for (const arguments_ of ["text", 1, [1]]) {
          const { content, isError } = yield* connection.callTool("law_same", arguments_)
          yield* holds(`law_same ${String(arguments_)}`, "isError, and why", isError && content.length > 0, content)
        }
      })
  ),

  law("a tool that failed is a result that says so, and no failure", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      yield* equal("law_fail", yield* connection.callTool("law_fail", { text: "no luck" }), {
        content: [text("no luck")],
        isError: true
      })
      yield* equal("law_echo", yield* echo(connection, "still here"), "still here")
    })),

  law("text, images, sound, resources and links become parts that models take", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const { content } = yield* connection.callTool("law_media", {})
      yield* equal("types", content.map(({ type }) => type), [
        "input_text",
        "input_image",
        "input_file",
        "input_text",
        "input_file",
        "input_image",
        "input_text"
      ])
      const [words, image, sound, inside, data, dot, link] = content
      yield* equal("text", words, text("a text"))
      yield* equal("image", image!["image_url"], "data:image/png;base64,aW1hZ2U=")
      yield* equal("sound", sound!["file_data"], "data:audio/wav;base64,YXVkaW8=")
      for (const word of ["law:///text.txt", "inside"]) {
        yield* holds("resource of text", word, inside!.text?.includes(word) === true, inside)
      }
      yield* equal("resource", [data!["filename"], data!["file_data"]], [
        "data.bin",
        "data:application/x-law;base64,ZGF0YQ=="
      ])
      yield* equal("resource that is an image", dot!["image_url"], "data:image/gif;base64,Z2lm")
      for (const word of ["law:///linked", "linked", "elsewhere"]) {
        yield* holds("link", word, link!.text?.includes(word) === true, link)
      }
    })),

  law(
    "a tool that the server does not have is UnknownTool, and the connection goes on",
    (subject) =>
      Effect.gen(function*() {
        const connection = yield* subject.open
        const error = yield* refused("callTool", ["UnknownTool"], connection.callTool("law_missing", {}))
        yield* holds("callTool", "the name in the message", error.message.includes("law_missing"), error.message)
        yield* equal("law_echo", yield* echo(connection, "still here"), "still here")
      })
  ),

  law("fifty calls at once get each its own answer", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const texts = Array.from({ length: 50 }, (_, index) => `call ${index}`)
      const answers = yield* Effect.forEach(texts, (text) => echo(connection, text), { concurrency: "unbounded" })
      yield* equal("law_echo", answers, texts)
    })),

  law("an interrupted call is cancelled at the server, and no other", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const before = yield* cancelled(connection)
      const first = yield* waiting(connection)
      const second = yield* waiting(connection)
      yield* inTime("interrupt", Fiber.interrupt(first))
      yield* eventually("law_wait", "it is cancelled", cancelled(connection), (count) => count > before)
      yield* stays(
        "calls cancelled",
        `${before + 1}`,
        cancelled(connection),
        (count) => count === before + 1,
        "200 millis"
      )
      yield* holds("the other call", "it waits", second.pollUnsafe() === undefined, second.pollUnsafe())
      yield* equal("law_echo", yield* echo(connection, "still here"), "still here")
    }))
]

const life: ReadonlyArray<Law<McpServerSubject>> = [
  law("an error says which server and which operation", (subject) =>
    Effect.gen(function*() {
      const connection = yield* subject.open
      const error = yield* refused("callTool", ["UnknownTool"], connection.callTool("law_missing", {}))
      yield* equal("error", [error.server, error.operation], [connection.name, "callTool"])
    })),

  law(
    "a connection that ends fails the calls under way with Disconnected, and the next call has another",
    (subject) =>
      Effect.gen(function*() {
        const connection = yield* subject.open
        const call = yield* waiting(connection)
        yield* drop.of(subject)
        yield* refused("callTool", ["Disconnected"], inTime("law_wait", Fiber.join(call)))
        yield* equal("law_echo", yield* inTime("law_echo", echo(connection, "again")), "again")
        yield* equal("names", (yield* connection.listTools).map(({ name }) => name), tools.map(({ name }) => name))
      }),
    drop.missing
  ),

  law(
    "a connection that ended unused is made anew by whoever comes first, for all",
    (subject) =>
      Effect.gen(function*() {
        const connection = yield* subject.open
        yield* connection.listTools
        yield* drop.of(subject)
        if (connections.missing(subject) === undefined) {
          yield* eventually("connections", "none", connections.of(subject), (count) => count === 0)
        }
        yield* allowTimeFor("the client to see that its connection ended", "200 millis")
        const before = yield* connected.of(subject)
        const texts = Array.from({ length: 20 }, (_, index) => `caller ${index}`)
        const answers = yield* inTime(
          "law_echo",
          Effect.forEach(texts, (text) => echo(connection, text), { concurrency: "unbounded" })
        )
        yield* equal("law_echo", answers, texts)
        yield* equal("connections made", (yield* connected.of(subject)) - before, 1)
      }),
    (subject) => drop.missing(subject) ?? connected.missing(subject)
  ),

  law("when the scope closes, calls under way fail, and so do later ones", (subject) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const connection = yield* Scope.provide(subject.open, scope)
      const call = yield* waiting(connection)
      yield* inTime("close", Scope.close(scope, Exit.void))
      yield* refused("callTool", ["Disconnected", "Unavailable"], inTime("law_wait", Fiber.join(call)))
      yield* refused("callTool", ["Disconnected", "Unavailable"], inTime("law_echo", echo(connection, "late")))
      yield* refused("listTools", ["Disconnected", "Unavailable"], inTime("listTools", connection.listTools))
    })),

  law("when the scope closes, nothing of the connection is left", (subject) =>
    Effect.gen(function*() {
      const none = eventually(
        "connections",
        "none",
        connections.of(subject),
        (count) => count === 0
      )
      yield* none
      yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* subject.open
        yield* equal("law_echo", yield* echo(connection, "hello"), "hello")
        const open = yield* connections.of(subject)
        yield* holds("connections", "one or more", open > 0, open)
      }))
      yield* none
    }), connections.missing),

  law("two connections are two: one can close and the other goes on", (subject) =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const gone = yield* Scope.provide(subject.open, first)
      const connection = yield* subject.open
      yield* equal("law_echo", yield* echo(gone, "first"), "first")
      yield* Scope.close(first, Exit.void)
      yield* equal("law_echo", yield* echo(connection, "second"), "second")
      yield* equal("law_cancelled", Number.isNaN(Number(yield* said(connection, "law_cancelled"))), false)
    }))
]

/**
 * Every law. A subject needs some seconds for all of them.
 *
 * @category laws
 * @since 0.1.0
 */
export const all: ReadonlyArray<Law<McpServerSubject>> = [...listing, ...calling, ...life]
