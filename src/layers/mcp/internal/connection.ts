import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { McpConnection, McpTool, McpToolResult } from "../../../services/McpServer.ts"
import { McpError } from "../../../services/McpServer.ts"
import * as decode from "./decode.ts"
import type { Down } from "./failure.ts"
import { classify, Failure, Refused } from "./failure.ts"
import type { ConnectionOptions } from "./options.ts"
import type { Client, Sdk, Transport } from "./sdk.ts"
import { loadSdk } from "./sdk.ts"

/** One connection's transport. */
export interface Wire {
  readonly transport: Transport
  /** What became of the server, for the message of an error. */
  readonly describe?: (() => string | undefined) | undefined
  /** Whether an error that the transport reports, and survives, means that it is of no more use. */
  readonly isFatal?: ((error: Error) => boolean) | undefined
  /** Says goodbye to the server. */
  readonly end?: (() => Promise<unknown>) | undefined
}

export interface Opening {
  /** Everything of one connection; its Scope is closed when the connection is lost. Its errors are those of "connect". */
  readonly open: Effect.Effect<Wire, McpError, Scope.Scope>
  /** Removes secrets from what a server says. */
  readonly scrub?: ((text: string) => string) | undefined
}

interface Link {
  readonly sdk: Sdk
  readonly client: Client
  readonly wire: Wire
  readonly scope: Scope.Closeable
  /** Where the connection has ended: how. */
  down: Down | undefined
  /** Where nothing new is asked over it: why. */
  retired: Down | undefined
  asked: number
}

interface Attempt {
  readonly result: Deferred.Deferred<Link, McpError>
  fiber: Fiber.Fiber<unknown, unknown> | undefined
}

interface Listing {
  readonly link: Link
  readonly generation: number
  readonly tools: ReadonlyArray<McpTool>
}

/** The client's own timers stay out of the way. */
const never = 2 ** 31 - 1

const goodbye = "2 seconds"

/** What JSON-RPC has for a request that is not one, or for one that the server does not speak. */
const protocolCodes = new Set([-32700, -32600, -32601])

const defaultReconnect = Schedule.upTo(Schedule.exponential("200 millis"), { times: 3 })

const infinite = (duration: Duration.Duration): boolean => !Duration.isFinite(duration)

/**
 * One server, however often the connection to it has to be made anew: by one caller for all, when it is next needed after
 * it was lost. A call is repeated only where the server cannot have seen it.
 */
export const make = Effect.fnUntraced(function*(
  server: string,
  opening: Opening,
  options: ConnectionOptions = {}
): Effect.fn.Return<McpConnection, McpError, Scope.Scope> {
  const timeouts = {
    connect: Duration.fromInputUnsafe(options.timeouts?.connect ?? "30 seconds"),
    list: Duration.fromInputUnsafe(options.timeouts?.list ?? "15 seconds"),
    call: Duration.fromInputUnsafe(options.timeouts?.call ?? "1 minute")
  }
  const maxPages = options.maxPages ?? 100
  const scrub = opening.scrub ?? ((text: string) => text)
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const changes = yield* PubSub.sliding<void>(16)

  let isClosed = false
  let hasConnected = false
  let current: Link | undefined
  let attempt: Attempt | undefined
  let listing: Listing | undefined
  let generation = 0
  const closing = new Set<Fiber.Fiber<unknown, unknown>>()
  const reported = new Set<string>()

  const changed = () => {
    generation++
    listing = undefined
    PubSub.publishUnsafe(changes, undefined)
  }

  const error = (operation: string, reason: McpError["reason"], description: string) =>
    new McpError({ server, operation, reason, description: scrub(description) })

  const closed = (operation: string) =>
    error(operation, "Unavailable", "the connection is closed: the Scope that it was made in has ended")

  /** Ends a connection, unless that has happened; what waits for an answer of it fails. */
  const drop = (link: Link, why: Down) => {
    if (link.down !== undefined) return
    link.down = why
    if (current === link) {
      current = undefined
      changed()
    }
    const fiber = runFork(Scope.close(link.scope, Exit.void))
    closing.add(fiber)
    fiber.addObserver(() => closing.delete(fiber))
  }

  /** Asks nothing more over a connection, which ends when what was asked before has its answer. */
  const retire = (link: Link, why: Down) => {
    link.retired ??= why
    if (current === link) {
      current = undefined
      changed()
    }
  }

  const endedAs = (wire: Wire): string => wire.describe?.() ?? "the server has ended the connection"

  const failureOf = (sdk: Sdk, operation: string, cause: unknown, link: Link | undefined) =>
    classify({ sdk, server, operation, cause, scrub, down: link?.down })

  const timedOut = (operation: string, timeout: Duration.Duration, what: string) =>
    new Failure({
      error: error(operation, "Timeout", `${what} within ${Duration.format(timeout)}`),
      isStale: operation === "connect",
      isUnsent: false
    })

  const establish = (scope: Scope.Closeable): Effect.Effect<Link, McpError> =>
    Effect.gen(function*() {
      const sdk = yield* loadSdk(server)
      const wire = yield* Scope.provide(opening.open, scope)
      const client = new sdk.Client({ name: "agent-layers", version: "0.1.0" }, { capabilities: {} })
      const link: Link = { sdk, client, wire, scope, down: undefined, retired: undefined, asked: 0 }
      yield* Scope.addFinalizer(
        scope,
        Effect.suspend(() => {
          const wasUp = link.down === undefined
          link.down ??= { description: "the connection was closed" }
          return Effect.promise(() =>
            (wasUp && wire.end !== undefined ? wire.end() : Promise.resolve()).catch(() => {})
          ).pipe(
            Effect.timeoutOption(goodbye),
            Effect.andThen(Effect.promise(() => client.close().catch(() => {})).pipe(Effect.timeoutOption(goodbye)))
          )
        })
      )
      Object.assign(client, {
        onclose: () => drop(link, { description: scrub(endedAs(wire)) }),
        onerror: (cause: Error) => {
          if (wire.isFatal?.(cause) === true) drop(link, { description: scrub(cause.message) })
        }
      })
      client.setNotificationHandler(sdk.ToolListChangedNotificationSchema, () => {
        if (current === link) changed()
      })
      yield* Effect.tryPromise({
        try: (signal) => client.connect(wire.transport, { signal, timeout: never }),
        catch: (cause) => failureOf(sdk, "connect", cause, link)
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeouts.connect,
          orElse: () => {
            const said = wire.describe?.()
            return Effect.fail(
              timedOut(
                "connect",
                timeouts.connect,
                `no connection was made${said === undefined ? "" : ` (${said})`}`
              )
            )
          }
        }),
        Effect.mapError((failure) =>
          failure instanceof Refused ? error("connect", "Protocol", failure.text) : failure.error
        )
      )
      return link
    })

  /** A connection, or nothing that is left of the attempt. */
  const connectOnce: Effect.Effect<Link, McpError> = Effect.suspend(() => {
    const scope = Scope.makeUnsafe()
    return Effect.onExit(
      establish(scope),
      (exit) => Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void
    )
  })

  const connect: Effect.Effect<Link, McpError> = Effect.suspend(() =>
    hasConnected
      ? Effect.retry(connectOnce, {
        schedule: options.reconnect ?? defaultReconnect,
        while: (error) => error.isRetryable && !isClosed
      })
      : connectOnce
  )

  /** The connection that is up, or the one attempt to make one, which no caller's interruption ends. */
  const ensure = (operation: string): Effect.Effect<Link, McpError> =>
    Effect.suspend(() => {
      if (isClosed) return Effect.fail(closed(operation))
      if (current !== undefined) return Effect.succeed(current)
      if (attempt === undefined) {
        const mine: Attempt = { result: Deferred.makeUnsafe(), fiber: undefined }
        attempt = mine
        mine.fiber = runFork(Effect.onExit(connect, (exit) =>
          Effect.suspend(() => {
            attempt = undefined
            if (Exit.isSuccess(exit)) {
              if (isClosed) {
                Deferred.doneUnsafe(mine.result, Effect.fail(closed("connect")))
                return Scope.close(exit.value.scope, Exit.void)
              }
              hasConnected = true
              // It may have ended while its last step was on the way here.
              if (exit.value.down === undefined) current = exit.value
            }
            Deferred.doneUnsafe(mine.result, isClosed ? Effect.fail(closed("connect")) : exit)
            return Effect.void
          })))
        return Deferred.await(mine.result)
      }
      return Deferred.await(attempt.result)
    })

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      isClosed = true
      const fiber = attempt?.fiber
      if (fiber !== undefined) yield* Fiber.interrupt(fiber)
      const link = current
      current = undefined
      if (link !== undefined) yield* Scope.close(link.scope, Exit.void)
      yield* Fiber.awaitAll([...closing])
      yield* PubSub.shutdown(changes)
    })
  )

  /** Asks over a connection that is up; once more where the first one turns out to have been lost before. */
  const asking = <A>(
    operation: string,
    ask: (link: Link) => Effect.Effect<A, Failure>,
    isRepeatable: boolean
  ): Effect.Effect<A, McpError> => {
    const once = Effect.flatMap(ensure(operation), (link) =>
      Effect.suspend(() => {
        link.asked++
        return ask(link)
      }).pipe(
        Effect.tapError(({ error, isStale }) =>
          Effect.sync(() => {
            if (isStale) retire(link, { description: error.description })
          })
        ),
        Effect.ensuring(Effect.sync(() => {
          link.asked--
          if (link.retired !== undefined && link.asked === 0) drop(link, link.retired)
        }))
      ))
    return Effect.catchTag(
      once,
      "Failure",
      (failure) =>
        (failure.isUnsent || (isRepeatable && failure.error.reason === "Disconnected")) && !isClosed
          ? Effect.catchTag(once, "Failure", (failure) => Effect.fail(failure.error))
          : Effect.fail(failure.error)
    )
  }

  const request = (
    link: Link,
    operation: string,
    method: string,
    params: Record<string, unknown>,
    onProgress?: () => void
  ): Effect.Effect<Record<string, unknown>, Failure | Refused> =>
    Effect.tryPromise({
      try: (signal) =>
        link.client.request({ method, params } as Parameters<Client["request"]>[0], link.sdk.ResultSchema, {
          signal,
          timeout: never,
          ...(onProgress === undefined ? {} : { onprogress: onProgress })
        }),
      catch: (cause) => failureOf(link.sdk, operation, cause, link)
    })

  const broken = (operation: string, description: string) =>
    new Failure({ error: error(operation, "Protocol", description), isStale: false, isUnsent: false })

  const report = (problems: ReadonlyArray<string>): Effect.Effect<void> => {
    const fresh = problems.map(scrub).filter((problem) => !reported.has(problem) && reported.size < 1000)
    for (const problem of fresh) reported.add(problem)
    return fresh.length === 0
      ? Effect.void
      : Effect.logWarning(`Tools of MCP server "${server}" are left out: ${fresh.join("; ")}`)
  }

  const pages = Effect.fnUntraced(function*(link: Link): Effect.fn.Return<ReadonlyArray<McpTool>, Failure> {
    const tools = new Map<string, McpTool>()
    const problems: Array<string> = []
    if (link.client.getServerCapabilities()?.tools === undefined) return []
    const cursors = new Set<string>()
    let cursor: string | undefined
    for (let number = 1;; number++) {
      if (number > maxPages) {
        return yield* broken("listTools", `it lists its tools on more than ${maxPages} pages (option maxPages)`)
      }
      const raw = yield* request(link, "listTools", "tools/list", cursor === undefined ? {} : { cursor }).pipe(
        Effect.catchTag("Refused", ({ code, text }) => Effect.fail(broken("listTools", `it refused: ${code} ${text}`)))
      )
      const page = decode.page(raw)
      if (Option.isNone(page)) return yield* broken("listTools", "its answer has no list of tools")
      for (const one of page.value.tools) {
        const tool = decode.tool(one)
        if (typeof tool === "string") problems.push(tool)
        else if (tools.has(tool.name)) problems.push(`a second tool "${tool.name}"`)
        else tools.set(tool.name, tool)
      }
      cursor = page.value.nextCursor ?? undefined
      if (cursor === undefined) break
      if (cursors.has(cursor)) return yield* broken("listTools", `it gave the cursor "${cursor}" twice`)
      cursors.add(cursor)
    }
    yield* report(problems)
    return Object.freeze([...tools.values()])
  })

  const listTools: McpConnection["listTools"] = asking("listTools", (link) =>
    Effect.suspend(() => {
      if (listing !== undefined && listing.link === link) return Effect.succeed(listing.tools)
      const began = generation
      return pages(link).pipe(
        Effect.timeoutOrElse({
          duration: timeouts.list,
          orElse: () => Effect.fail(timedOut("listTools", timeouts.list, "the tools were not listed"))
        }),
        Effect.tap((tools) =>
          Effect.sync(() => {
            // A listing that a change overtook may be of before it or after it.
            if (options.cacheTools !== false && began === generation && current === link) {
              listing = { link, generation, tools }
            }
          })
        )
      )
    }), true)

  /** Fails when a call has taken too long. */
  const watch = (progress: { at: number }): Effect.Effect<never, Failure> =>
    Effect.gen(function*() {
      const limit = Duration.toMillis(timeouts.call)
      const isExtended = options.timeouts?.isCallExtendedByProgress === true
      let left = limit
      while (left > 0) {
        yield* Effect.sleep(left)
        left = isExtended ? progress.at + limit - (yield* Clock.currentTimeMillis) : 0
      }
      return yield* timedOut("callTool", timeouts.call, "the call was not answered")
    })

  const callOver = (link: Link, name: string, arguments_: Record<string, unknown>) =>
    Effect.flatMap(Clock.Clock, (clock) => {
      const progress = { at: clock.currentTimeMillisUnsafe() }
      const onProgress = options.timeouts?.isCallExtendedByProgress === true
        ? () => {
          progress.at = clock.currentTimeMillisUnsafe()
        }
        : undefined
      const call = request(link, "callTool", "tools/call", { name, arguments: arguments_ }, onProgress).pipe(
        Effect.flatMap((raw) => {
          const result = decode.result(raw)
          return result === undefined
            ? Effect.fail(broken("callTool", `its answer to a call of "${name}" is no result of a tool`))
            : Effect.succeed(result.isError ? decode.mapTexts(result, scrub) : result)
        }),
        Effect.catchTag("Refused", ({ code, text }) =>
          // Arguments that it does not take, a tool that failed: the model may do better next time.
          protocolCodes.has(code) && code !== -32601
            ? Effect.fail(broken("callTool", `it refused: ${code} ${text}`))
            : Effect.succeed(decode.failedResult(text)))
      )
      return infinite(timeouts.call) ? call : Effect.raceFirst(call, watch(progress))
    })

  const unknownTool = (name: string, tools: ReadonlyArray<McpTool>) =>
    error(
      "callTool",
      "UnknownTool",
      `it has no tool "${name}"; it has: ${tools.slice(0, 50).map((tool) => `"${tool.name}"`).join(", ") || "none"}`
    )

  const callTool: McpConnection["callTool"] = (name, arguments_) => {
    const given = decode.fields(arguments_ ?? {})
    if (Option.isNone(given)) {
      return Effect.succeed(decode.failedResult(`The arguments of "${name}" must be an object`))
    }
    return asking("callTool", (link) => callOver(link, name, given.value), false).pipe(
      Effect.flatMap((result): Effect.Effect<McpToolResult, McpError> =>
        // Servers tell of a tool that they do not have in words, each in its own, as they do of one that failed.
        result.isError
          ? Effect.flatMap(Effect.orElseSucceed(listTools, () => undefined), (tools) =>
            tools !== undefined && tools.every((tool) =>
                tool.name !== name
              )
              ? Effect.fail(unknownTool(name, tools))
              : Effect.succeed(result))
          : Effect.succeed(result)
      )
    )
  }

  if (options.connect !== "use") yield* ensure("connect")
  return { name: server, listTools, callTool, toolsChanged: Stream.fromPubSub(changes) }
})
