/**
 * One model of a server that speaks Chat Completions: a request, and its answer at once or as a stream.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ModelError } from "../../../services/ModelError.ts"
import type { Model, ModelEvent, ModelRequest, ModelResponse } from "../../../services/ModelProvider.ts"
import { parseJson } from "./json.ts"
import { readBody, watchIdle } from "./openAiBody.ts"
import { type Dialect, makeChatParams } from "./openAiChatRequest.ts"
import { makeChatReader } from "./openAiChatStream.ts"
import { makeAbort, makeCalls, makeNonce, type Server } from "./openAiClient.ts"
import { fromConnection } from "./openAiError.ts"

const api = "Chat Completions"

/** Looks only once there is a call to look for. */
const callIdsOf = (request: ModelRequest): (callId: string) => boolean => {
  let ids: ReadonlySet<unknown> | undefined
  return (callId) => {
    ids ??= new Set(typeof request.input === "string" ? [] : request.input.map((item) => item.call_id))
    return ids.has(callId)
  }
}

export const makeChatModel = (server: Server, dialect: Dialect, name: string): Model => {
  const { client, provider, scrub } = server
  const { call, fail, inTime, notJson, readText, timedOut } = makeCalls(server, name)

  const create = (request: ModelRequest, signal: AbortSignal, stream: boolean) =>
    Effect.suspend(() => {
      const params = makeChatParams({ model: name, request, defaults: server.defaultSettings, dialect, stream })
      return Result.isFailure(params)
        ? Effect.fail(fail(params.failure))
        : call(() => client.chat.completions.create(params.success as never, { signal }))
    })

  const makeReader = (request: ModelRequest, isStream: boolean) =>
    Effect.map(makeNonce, (nonce) =>
      makeChatReader({
        provider,
        structured: request.outputSchema !== undefined,
        raw: isStream && request.rawEvents === true,
        isStream,
        nonce,
        isKnown: callIdsOf(request),
        scrub
      }))

  const respond = Effect.fnUntraced(
    function*(request: ModelRequest): Effect.fn.Return<ModelResponse, ModelError, Scope.Scope> {
      const { signal } = yield* makeAbort
      const reader = yield* makeReader(request, false)
      const response = yield* create(request, signal, false)
      const json = parseJson(yield* readText(response))
      if (json === undefined) return yield* fail(notJson(response, api))
      reader.whole(json)
      const last = reader.events.at(-1)
      if (last?._tag === "Completed") return last.response
      return yield* fail(reader.failure ?? notJson(response, api))
    },
    Effect.scoped,
    (respond) => inTime(respond, "no whole answer")
  )

  const stream = Effect.fnUntraced(
    function*(
      request: ModelRequest
    ): Effect.fn.Return<Stream.Stream<ModelEvent, ModelError>, ModelError, Scope.Scope> {
      const abort = yield* makeAbort
      const reader = yield* makeReader(request, true)
      const response = yield* inTime(create(request, abort.signal, true), "no answer")
      const type = response.headers.get("content-type") ?? ""
      if (response.body === null || type.includes("text/html")) return yield* fail(notJson(response, api))
      if (type.includes("application/json")) {
        // A server that does not stream answers at once.
        const json = parseJson(yield* inTime(readText(response), "no whole answer"))
        if (json === undefined) return yield* fail(notJson(response, api))
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
