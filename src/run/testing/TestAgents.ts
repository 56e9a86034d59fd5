/**
 * All doubles at once: a scripted model, conversations in memory that can be made to fail, a virtual sandbox, recorded
 * traces, ids that count, and no network.
 *
 * ```ts
 * it.effect("answers", () =>
 *   Effect.gen(function*() {
 *     const { finalOutput } = yield* Runner.run(agent, "Hi", { conversationId: "c" })
 *     assert.strictEqual(finalOutput, "Hello.")
 *     yield* Traces.expectSpan("invoke_agent greeter")
 *   }).pipe(Effect.provide(TestAgents.layer({ model: [ModelScripted.text("Hello.")] }))))
 * ```
 *
 * What an agent needs beside these, its tools' handlers and `McpScripted` servers, is merged with it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as ModelScripted from "../../layers/model/ModelScripted.ts"
import * as SandboxVirtual from "../../layers/sandbox/SandboxVirtual.ts"
import type * as SessionMemory from "../../layers/session/SessionMemory.ts"
import * as TracerMemory from "../../layers/tracer/TracerMemory.ts"
import * as Ids from "../../services/Ids.ts"
import type { ModelProvider } from "../../services/ModelProvider.ts"
import { NetworkPolicy } from "../../services/Network.ts"
import type { Sandbox } from "../../services/Sandbox.ts"
import type { Session } from "../../services/Session.ts"
import * as SessionFaults from "./SessionFaults.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface NetworkOptions {
  /** Hosts that may be talked to, such as `127.0.0.1` for a server of the test itself. Default: none. */
  readonly except?: ReadonlyArray<string> | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * What the model says, or several models by name.
   * @default []
   */
  readonly model?: ModelScripted.Script | Readonly<Record<string, ModelScripted.Script>> | undefined
  readonly modelOptions?: ModelScripted.Options | undefined
  /** Where conversations are kept, and how. */
  readonly session?: SessionMemory.Options | undefined
  /**
   * What goes wrong with the session.
   * @default []
   */
  readonly faults?: ReadonlyArray<SessionFaults.Fault> | undefined
  /** What commands do. Default: no command is there. */
  readonly sandbox?: SandboxVirtual.Options | undefined
  readonly tracer?: TracerMemory.Options | undefined
  /**
   * Whether ids count from 1 (`run_1`), or are unique. Over a store that outlives the Layer they have to be unique: a
   * second `run_1` would be taken for a repetition of the first.
   * @default "unique" where `session.store` is given, otherwise "sequential"
   */
  readonly ids?: "sequential" | "unique" | undefined
  /**
   * Whether real models and `HttpClient` may be used, or which hosts may be talked to.
   * @default "forbidden"
   */
  readonly network?: "forbidden" | "allowed" | NetworkOptions | undefined
}

/**
 * What `layer` provides.
 *
 * @category models
 * @since 0.1.0
 */
export type Doubles =
  | ModelProvider
  | ModelScripted.ModelScripted
  | Session
  | SessionFaults.SessionFaults
  | Sandbox
  | SandboxVirtual.SandboxVirtual
  | TracerMemory.TracerMemory

const hostOf = (url: string): string | undefined => URL.canParse(url) ? new URL(url).hostname : undefined

const refusal = (who: string, url: string): Error =>
  new Error(
    `${who} is about to talk to ${hostOf(url) ?? "the network"}, which TestAgents forbids. Use a double such as ` +
      `ModelScripted, or name the host: network: { except: ["${hostOf(url) ?? "…"}"] }`
  )

/**
 * Forbids the network where it is provided: a Layer of a real model that is built or asked there, and a request of
 * `HttpClient`, is a defect that says who wanted to talk to whom.
 *
 * A Layer is built with what is provided around it, so that this stands outside of what it guards:
 * `program.pipe(Effect.provide(Model), Effect.provide(TestAgents.forbidNetwork()))`. Where the program takes the refusal
 * for a failure and goes on (a run makes a `ModelError` of what its model dies of, a client of the program's own over
 * `fetch` fails with a transport error), the end of this Layer is the defect.
 *
 * @category layers
 * @since 0.1.0
 */
export const forbidNetwork = (options: NetworkOptions = {}): Layer.Layer<HttpClient.HttpClient> =>
  Layer.effectContext(Effect.gen(function*() {
    const except = new Set(options.except)
    const isAllowed = (url: string) => except.has(hostOf(url) ?? "")
    const attempted: Array<Error> = []
    const refuse = (who: string, url: string): Error => {
      const error = refusal(who, url)
      attempted.push(error)
      return error
    }
    const fetch = yield* FetchHttpClient.Fetch
    const outer = Context.get(yield* Layer.build(FetchHttpClient.layer), HttpClient.HttpClient)

    const guardedFetch: typeof globalThis.fetch = (input, init) => {
      const url = typeof input === "string" ? input : input instanceof URL ? input.href : input.url
      return isAllowed(url) ? fetch(input, init) : Promise.reject(refuse("A client over fetch", url))
    }
    yield* Effect.addFinalizer((exit) =>
      exit._tag === "Success" && attempted.length > 0 ? Effect.die(attempted[0]) : Effect.void
    )
    const client = HttpClient.make((request, url) =>
      isAllowed(url.href)
        ? outer.execute(request)
        : Effect.die(refuse("HttpClient", url.href))
    )
    return Context.make(HttpClient.HttpClient, client).pipe(
      Context.add(FetchHttpClient.Fetch, guardedFetch),
      Context.add(NetworkPolicy, {
        check: (who, url) => isAllowed(url) ? Effect.void : Effect.suspend(() => Effect.die(refuse(who, url)))
      })
    )
  }))

/**
 * Every double of a program with agents, and the services to look into them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Doubles> =>
  Layer.mergeAll(
    ModelScripted.layer(options.model ?? [], options.modelOptions),
    SessionFaults.layerMemory(options.faults, options.session),
    SandboxVirtual.layer(options.sandbox),
    TracerMemory.layerWith(options.tracer ?? {}),
    (options.ids ?? (options.session?.store === undefined ? "sequential" : "unique")) === "sequential"
      ? Ids.layerSequential
      : Layer.empty,
    options.network === "allowed"
      ? Layer.empty
      : forbidNetwork(options.network === "forbidden" ? undefined : options.network)
  )
