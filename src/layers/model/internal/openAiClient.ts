/**
 * One server behind the `openai` client: what every model of it shares, whichever of its APIs it speaks.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { OpenAI } from "openai"
import * as Secrets from "../../../services/internal/secrets.ts"
import {
  InvalidOutput,
  InvalidRequest,
  ModelError,
  type ModelErrorReason,
  Timeout,
  Unsupported
} from "../../../services/ModelError.ts"
import type { ModelSettings } from "../../../services/ModelProvider.ts"
import * as Network from "../../../services/Network.ts"
import { errorBody, errorBodyOfText, fromConnection, fromStatus } from "./openAiError.ts"

export interface ServerOptions {
  readonly apiKey: Redacted.Redacted
  readonly baseURL?: string | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  readonly timeout: Duration.Input
  readonly defaultSettings?: ModelSettings | undefined
  readonly provider: string
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly fetch?: typeof globalThis.fetch | undefined
}

/** A server, with all that its models share. */
export interface Server {
  readonly provider: string
  readonly client: OpenAI
  /** A reason for what the client rejects with. */
  readonly reasonOf: (cause: unknown, now: number) => ModelErrorReason
  /** Takes the key, and secret headers, out of what the server says. */
  readonly scrub: (text: string) => string
  readonly timeout: Duration.Duration
  readonly defaultSettings: ModelSettings | undefined
}

/** The client's own timers stay out of the way. */
const never = 2 ** 31 - 1

/** Fails where the `openai` package is not installed or an option cannot be used; no request is made. */
export const connect = Effect.fnUntraced(function*(options: ServerOptions): Effect.fn.Return<Server, ModelError> {
  const { provider } = options
  const key = Redacted.value(options.apiKey)
  // Some servers quote the key that they refuse, and so do the errors of a client that cannot put it into a header.
  const { scrub } = Secrets.make([
    key,
    ...Secrets.ofHeaders(options.headers),
    ...Secrets.ofUrl(options.baseURL ?? "")
  ])

  const refused = refusedOption(key, options.baseURL)
  if (refused !== undefined) return yield* new ModelError({ provider, reason: new InvalidRequest(refused) })
  yield* Network.check(`The model provider "${provider}"`, options.baseURL ?? "https://api.openai.com/v1")

  const openai = yield* Effect.tryPromise({
    try: () => import("openai"),
    catch: (cause) =>
      new ModelError({
        provider,
        reason: new Unsupported({
          feature: "openai",
          description: "the package `openai` cannot be loaded; install it next to agent-layers: npm install openai",
          cause
        })
      })
  })

  const client = yield* Effect.try({
    // Everything that the client would otherwise take from the environment is said here.
    try: () =>
      new openai.OpenAI({
        apiKey: key,
        adminAPIKey: null,
        webhookSecret: null,
        baseURL: options.baseURL ?? "https://api.openai.com/v1",
        organization: options.organization ?? null,
        project: options.project ?? null,
        maxRetries: 0,
        timeout: never,
        logLevel: "off",
        fetch: flatErrors(options.fetch ?? globalThis.fetch, scrub),
        ...(options.headers === undefined ? {} : { defaultHeaders: options.headers })
      }),
    catch: (cause) =>
      new ModelError({
        provider,
        reason: new InvalidRequest({ description: errorBody(cause, scrub).message ?? "invalid options" })
      })
  })

  const reasonOf = (cause: unknown, now: number): ModelErrorReason => {
    if (cause instanceof openai.APIError && cause.status !== undefined && cause.headers !== undefined) {
      return fromStatus({ status: cause.status, headers: cause.headers, body: errorBody(cause.error, scrub), now })
    }
    if (cause instanceof openai.APIConnectionError) return fromConnection(cause, false, scrub)
    return new InvalidRequest({
      description: `the request could not be made: ${errorBody(cause, scrub).message ?? "unknown cause"}`
    })
  }

  return {
    provider,
    client,
    reasonOf,
    scrub,
    timeout: Duration.fromInputUnsafe(options.timeout),
    defaultSettings: options.defaultSettings
  }
})

/** What the client would only stumble over when the first request is made. */
const refusedOption = (key: string, baseURL: string | undefined) => {
  if (key === "") {
    return { param: "apiKey", description: "apiKey is empty; a server that checks no key still needs one, any will do" }
  }
  if (baseURL === undefined) return undefined
  const url = URL.canParse(baseURL) ? new URL(baseURL) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    return { param: "baseURL", description: "baseURL is no address of a server, such as http://localhost:11434/v1" }
  }
  return url.username === "" && url.password === "" ? undefined : {
    param: "baseURL",
    description: "baseURL holds a user name or password, which fetch refuses; send them in `headers`"
  }
}

/** Compatible servers have their own shapes of errors; the client looks at one only and would drop the others. */
const flatErrors =
  (fetch: typeof globalThis.fetch, scrub: (text: string) => string): typeof globalThis.fetch => (input, init) =>
    fetch(input, init).then((response) =>
      response.status < 400
        ? response
        : response.text().then((text) =>
          new Response(JSON.stringify({ error: errorBodyOfText(text, scrub) }), {
            status: response.status,
            headers: new Headers([
              ...[...response.headers].map(([name, value]): [string, string] => [name, scrub(value)]),
              ["content-type", "application/json"]
            ])
          })
        )
    )

/** What a model does with its server, each failure as a `ModelError` of that model. */
export const makeCalls = (server: Server, model: string) => {
  const { provider, scrub, timeout } = server

  const fail = (reason: ModelErrorReason) => new ModelError({ provider, model, reason })

  const timedOut = (what: string, isPartial: boolean): ModelErrorReason =>
    new Timeout({ description: `${what} within ${Duration.format(timeout)}`, isPartial })

  const inTime = <A, R>(effect: Effect.Effect<A, ModelError, R>, what: string): Effect.Effect<A, ModelError, R> =>
    Effect.timeoutOrElse(effect, { duration: timeout, orElse: () => Effect.fail(fail(timedOut(what, false))) })

  /** Makes a request and gives the response once its headers are there. */
  const call = (send: () => { readonly asResponse: () => Promise<Response> }): Effect.Effect<Response, ModelError> =>
    Clock.clockWith((clock) =>
      Effect.andThen(
        Network.check(`The model "${model}" of "${provider}"`, server.client.baseURL),
        Effect.tryPromise({
          try: () => send().asResponse(),
          catch: (cause) => fail(server.reasonOf(cause, clock.currentTimeMillisUnsafe()))
        })
      )
    )

  const readText = (response: Response): Effect.Effect<string, ModelError> =>
    Effect.tryPromise({
      try: () => response.text(),
      catch: (cause) => fail(fromConnection(cause, false, scrub))
    })

  const notJson = (response: Response, api: string): ModelErrorReason => {
    const type = scrub(response.headers.get("content-type") ?? "no content type")
    return new InvalidOutput({
      description: `the server answered with ${type}, which is no answer of the ${api} API; check the base URL`,
      status: response.status
    })
  }

  return { fail, timedOut, inTime, call, readText, notJson }
}

/** Aborts the request when the scope closes, however it closes; after the last byte that does nothing. */
export const makeAbort: Effect.Effect<AbortController, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new AbortController()),
  (controller) => Effect.sync(() => controller.abort())
)

export const makeNonce: Effect.Effect<string> = Effect.map(Random.next, (n) => n.toString(36).slice(2))
