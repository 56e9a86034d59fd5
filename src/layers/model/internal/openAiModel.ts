/**
 * One model of a server that speaks the Responses API: a request, and its answer at once or as a stream.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { OpenAI } from "openai"
import { InvalidOutput, ModelError, type ModelErrorReason, Timeout } from "../../../services/ModelError.ts"
import type { Model, ModelEvent, ModelRequest, ModelResponse, ModelSettings } from "../../../services/ModelProvider.ts"
import { parseJson } from "./json.ts"
import { readBody, watchIdle } from "./openAiBody.ts"
import { fromConnection } from "./openAiError.ts"
import { makeParams } from "./openAiRequest.ts"
import { type Answer, finish, isPending, readOutput, readResponse } from "./openAiResponse.ts"
import { makeStreamReader } from "./openAiStream.ts"

/** A server, with all that its models share. */
export interface Server {
  readonly provider: string
  readonly client: OpenAI
  /** A reason for what the client rejects with. */
  readonly reasonOf: (cause: unknown, now: number) => ModelErrorReason
  /** Takes the key out of what the server says. */
  readonly scrub: (text: string) => string
  readonly timeout: Duration.Duration
  readonly defaultSettings: ModelSettings | undefined
}

export const makeModel = (server: Server, name: string): Model => {
  const { client, provider, scrub, timeout } = server

  const fail = (reason: ModelErrorReason) => new ModelError({ provider, model: name, reason })

  const timedOut = (what: string, isPartial: boolean): ModelErrorReason =>
    new Timeout({ description: `${what} within ${Duration.format(timeout)}`, isPartial })

  const inTime = <A, R>(effect: Effect.Effect<A, ModelError, R>, what: string): Effect.Effect<A, ModelError, R> =>
    Effect.timeoutOrElse(effect, { duration: timeout, orElse: () => Effect.fail(fail(timedOut(what, false))) })

  /** Makes a request and gives the response once its headers are there. */
  const call = (send: () => { readonly asResponse: () => Promise<Response> }): Effect.Effect<Response, ModelError> =>
    Clock.clockWith((clock) =>
      Effect.tryPromise({
        try: () => send().asResponse(),
        catch: (cause) => fail(server.reasonOf(cause, clock.currentTimeMillisUnsafe()))
      })
    )

  const create = (request: ModelRequest, signal: AbortSignal, stream: boolean) =>
    call(() => {
      const defaults = server.defaultSettings
      const params = makeParams({ model: name, request, defaults, ownOnly: provider === "openai", stream })
      return client.responses.create(params as never, { signal })
    })

  const readText = (response: Response): Effect.Effect<string, ModelError> =>
    Effect.tryPromise({
      try: () => response.text(),
      catch: (cause) => fail(fromConnection(cause, false, scrub))
    })

  const fromResult = <A>(result: Result.Result<A, ModelErrorReason>): Effect.Effect<A, ModelError> =>
    Effect.fromResult(Result.mapError(result, fail))

  const readAnswer = Effect.fnUntraced(function*(response: Response): Effect.fn.Return<Answer, ModelError> {
    const json = parseJson(yield* readText(response))
    return yield* fromResult(
      json === undefined ? Result.fail(notJson(response)) : readResponse(json, { isPartial: false, scrub })
    )
  })

  /** A response in the background is asked for until it is there; interruption cancels it. */
  const awaitBackground = (id: string): Effect.Effect<Answer, ModelError, Scope.Scope> =>
    Effect.gen(function*() {
      const { signal } = yield* makeAbort
      let wait = 500
      while (true) {
        yield* Effect.sleep(wait)
        wait = Math.min(wait * 1.5, 5_000)
        const answer = yield* readAnswer(yield* call(() => client.responses.retrieve(id, {}, { signal })))
        if (!isPending(answer.status)) return answer
      }
    }).pipe(
      Effect.onInterrupt(() =>
        Effect.tryPromise(() => client.responses.cancel(id).asResponse()).pipe(
          Effect.timeout("2 seconds"),
          Effect.ignore
        )
      )
    )

  const respond = Effect.fnUntraced(
    function*(request: ModelRequest): Effect.fn.Return<ModelResponse, ModelError, Scope.Scope> {
      const { signal } = yield* makeAbort
      const nonce = yield* makeNonce
      let answer = yield* readAnswer(yield* create(request, signal, false))
      if (isPending(answer.status)) {
        answer = answer.id === undefined
          ? yield* fail(new InvalidOutput({ description: `the response is ${answer.status} and has no id` }))
          : yield* awaitBackground(answer.id)
      }
      const output = yield* fromResult(readOutput(answer.output, { nonce, isPartial: false }))
      const structured = request.outputSchema !== undefined
      return yield* fromResult(finish(answer, output, { structured, isPartial: false }))
    },
    Effect.scoped,
    (respond) => inTime(respond, "no whole answer")
  )

  const stream = Effect.fnUntraced(
    function*(
      request: ModelRequest
    ): Effect.fn.Return<Stream.Stream<ModelEvent, ModelError>, ModelError, Scope.Scope> {
      const abort = yield* makeAbort
      const structured = request.outputSchema !== undefined
      const reader = makeStreamReader({
        structured,
        raw: request.rawEvents === true,
        nonce: yield* makeNonce,
        scrub
      })
      const response = yield* inTime(create(request, abort.signal, true), "no answer")
      const type = response.headers.get("content-type") ?? ""
      if (response.body === null || type.includes("text/html")) return yield* fail(notJson(response))
      if (type.includes("application/json")) {
        // A server that does not stream answers at once.
        const json = parseJson(yield* inTime(readText(response), "no whole answer"))
        if (json === undefined) return yield* fail(notJson(response))
        reader.whole(json)
      }
      const idle = yield* watchIdle(timeout, () => abort.abort())
      return Stream.mapError(
        readBody(response.body, reader, {
          idle,
          interrupted: (cause) =>
            idle.isOver()
              ? timedOut("no further event", reader.isVisible)
              : fromConnection(cause, reader.isVisible, scrub)
        }),
        fail
      )
    },
    Stream.unwrap
  )

  return { name, provider, respond, stream }
}

/** Aborts the request when the scope closes, however it closes; after the last byte that does nothing. */
const makeAbort: Effect.Effect<AbortController, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => new AbortController()),
  (controller) => Effect.sync(() => controller.abort())
)

const makeNonce: Effect.Effect<string> = Effect.map(Random.next, (n) => n.toString(36).slice(2))

const notJson = (response: Response): ModelErrorReason => {
  const type = response.headers.get("content-type") ?? "no content type"
  return new InvalidOutput({
    description: `the server answered with ${type}, which is no answer of the Responses API; check the base URL`,
    status: response.status
  })
}
