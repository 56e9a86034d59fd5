/**
 * One model of a server that speaks the Responses API: a request, and its answer at once or as a stream.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { InvalidOutput, type ModelError, type ModelErrorReason } from "../../../services/ModelError.ts"
import type { Model, ModelEvent, ModelRequest, ModelResponse } from "../../../services/ModelProvider.ts"
import { parseJson } from "./json.ts"
import { readBody, watchIdle } from "./openAiBody.ts"
import { makeAbort, makeCalls, makeNonce, type Server } from "./openAiClient.ts"
import { fromConnection } from "./openAiError.ts"
import { makeParams } from "./openAiRequest.ts"
import { type Answer, finish, isPending, readOutput, readResponse } from "./openAiResponse.ts"
import { makeStreamReader } from "./openAiStream.ts"

export const makeModel = (server: Server, name: string): Model => {
  const { client, provider, scrub } = server
  const { call, fail, inTime, notJson, readText, timedOut } = makeCalls(server, name)

  const create = (request: ModelRequest, signal: AbortSignal, stream: boolean) =>
    call(() => {
      const defaults = server.defaultSettings
      const params = makeParams({ model: name, request, defaults, ownOnly: provider === "openai", stream })
      return client.responses.create(params as never, { signal })
    })

  const fromResult = <A>(result: Result.Result<A, ModelErrorReason>): Effect.Effect<A, ModelError> =>
    Effect.fromResult(Result.mapError(result, fail))

  const readAnswer = Effect.fnUntraced(function*(response: Response): Effect.fn.Return<Answer, ModelError> {
    const json = parseJson(yield* readText(response))
    return yield* fromResult(
      json === undefined ? Result.fail(notJson(response, "Responses")) : readResponse(json, { isPartial: false, scrub })
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
      if (response.body === null || type.includes("text/html")) return yield* fail(notJson(response, "Responses"))
      if (type.includes("application/json")) {
        // A server that does not stream answers at once.
        const json = parseJson(yield* inTime(readText(response), "no whole answer"))
        if (json === undefined) return yield* fail(notJson(response, "Responses"))
        reader.whole(json)
      }
      const idle = yield* watchIdle(server.timeout, () => abort.abort())
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
