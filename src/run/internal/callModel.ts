import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Inspectable from "effect/Inspectable"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as History from "../../services/History.ts"
import { toJson } from "../../services/internal/json.ts"
import * as ModelError from "../../services/ModelError.ts"
import type { ModelEvent, ModelRequest, ModelSettings } from "../../services/ModelProvider.ts"
import { ModelResponse } from "../../services/ModelProvider.ts"
import * as Tracer from "../../services/Tracer.ts"
import type { ModelProgress } from "../RunEvent.ts"
import { isTooLong, makeRoom } from "./makeRoom.ts"
import type { Emit, Run } from "./state.ts"
import { hook, hookContext, stepName, unusable } from "./state.ts"

const schemas = () => ({ success: ModelResponse, error: ModelError.ModelError })

/** A provider is anybody's code: one that throws, rejects or dies has failed, and the run with it, in a typed way. */
const died = (run: Run, defect: unknown): ModelError.ModelError =>
  new ModelError.ModelError({
    provider: run.model.provider,
    model: run.model.name,
    reason: new ModelError.InvalidOutput({
      description:
        `the provider died: ${defect instanceof Error ? defect.message : Inspectable.toStringUnknown(defect, 0)}. ` +
        "A provider fails with a ModelError",
      isPartial: run.emit !== undefined,
      cause: defect
    })
  })

/** Drains the stream into the consumer, chunk by chunk, and answers with the response at its end. */
const streamed = (
  run: Run,
  request: ModelRequest,
  emit: Emit
): Effect.Effect<ModelResponse, ModelError.ModelError> =>
  Effect.suspend(() => {
    let response: ModelResponse | undefined
    const forward = (events: ReadonlyArray<ModelEvent>) => {
      const last = events[events.length - 1]!
      if (last._tag !== "Completed") return emit(events as ReadonlyArray<ModelProgress>)
      response = last.response
      return events.length === 1 ? Effect.void : emit(events.slice(0, -1) as ReadonlyArray<ModelProgress>)
    }
    const events = Stream.suspend(() => run.model.stream(request)).pipe(
      Stream.catchDefect((defect) => Stream.fail(died(run, defect)))
    )
    return Effect.flatMap(Stream.runForEachArray(events, forward), () =>
      response === undefined
        ? Effect.fail(unusable(run, ModelError.InvalidOutput, "The stream ended without a completed response"))
        : Effect.succeed(response))
  })

const isResponse = Schema.is(ModelResponse)
const decodeResponse = Schema.decodeUnknownEffect(ModelResponse)

/** Items may hold fields that no Schema knows. */
const withJson = (response: ModelResponse): ModelResponse => {
  const output = toJson(response.output)
  return output === response.output as unknown ? response : { ...response, output: output as ModelResponse["output"] }
}

/** A provider is anybody's code, and what it answers is kept, shown and sent back. */
const checked = (run: Run, response: ModelResponse): Effect.Effect<ModelResponse, ModelError.ModelError> =>
  isResponse(response)
    ? Effect.succeed(withJson(response))
    : Effect.mapError(
      decodeResponse(response),
      (issue) =>
        unusable(run, ModelError.InvalidOutput, `The response is not what ModelResponse says: ${issue.message}`)
    )

/** A tool that must be called is called once: a model that must call one in every turn never gives an answer. */
const settingsOf = (run: Run): ModelSettings | undefined => {
  const choice = run.settings?.toolChoice
  const isForced = choice !== undefined && choice !== "auto" && choice !== "none"
  return isForced && run.agent.resetToolChoice && run.usedTools.has(run.agentKey)
    ? { ...run.settings, toolChoice: undefined }
    : run.settings
}

/** A value, or what an Effect comes to. */
const settled = <A>(given: A | Effect.Effect<A, any, any>): Effect.Effect<A, any, any> =>
  Effect.isEffect(given) ? given : Effect.succeed(given)

const requestOf = Effect.fnUntraced(function*(run: Run): Effect.fn.Return<ModelRequest, any, any> {
  const { inputFilter, providerConversationId } = run.options
  const whole = { instructions: yield* settled(run.agent.instructions), input: run.unsent ?? run.view }
  const seen = inputFilter === undefined ? whole : yield* inputFilter(whole, hookContext(run))
  const request: ModelRequest = {
    instructions: seen.instructions,
    // What a provider keeps holds the calls that these outputs answer.
    input: inputFilter === undefined || run.unsent !== undefined
      ? seen.input
      : History.repair(seen.input, [], whole.input),
    settings: settingsOf(run),
    tools: run.offer.definitions,
    handoffs: run.offer.handoffs,
    outputSchema: run.plan.output?.schema,
    tracing: run.tracing,
    ...(run.options.rawEvents === true ? { rawEvents: true } : undefined),
    prompt: yield* settled(run.agent.prompt)
  }
  if (run.unsent === undefined) return request
  return providerConversationId === undefined
    ? { ...request, previousResponseId: run.previousResponseId }
    : { ...request, conversationId: providerConversationId }
})

/** One model call: a step of the journal, a span, and its usage added to the run's. */
const askModel = Effect.fnUntraced(function*(run: Run, step: string): Effect.fn.Return<ModelResponse, any, any> {
  const request = yield* requestOf(run)
  yield* hook(run, ({ onModelStart }) => onModelStart?.(hookContext(run), request))
  const call = run.emit === undefined
    ? Effect.catchDefect(Effect.suspend(() => run.model.respond(request)), (defect) => Effect.fail(died(run, defect)))
    : streamed(run, request, run.emit)
  const response = yield* Tracer.withSpan(
    run.journal.step(
      { runId: run.id, name: step },
      schemas,
      Effect.flatMap(call, (response) => checked(run, response))
    ),
    () => ({
      _tag: "Generation" as const,
      provider: run.model.provider,
      model: run.model.name,
      // The run's own array goes on growing, and a span is kept.
      input: request.input.slice()
    }),
    (exit) =>
      Exit.isFailure(exit) ? {} : {
        output: exit.value.output,
        usage: exit.value.usage,
        ...(exit.value.id === undefined ? {} : { responseId: exit.value.id })
      }
  )
  run.spend({
    agent: run.agent.name,
    provider: run.model.provider,
    model: response.model ?? run.model.name,
    usage: response.usage
  })
  run.responses.push(response)
  yield* hook(run, ({ onModelEnd }) => onModelEnd?.(hookContext(run), response))
  return response
})

/** The model call of a turn, made again after a compaction if the conversation has outgrown the model's context. */
export const callModel = (run: Run): Effect.Effect<ModelResponse, any, any> =>
  Effect.catch(askModel(run, stepName(run, "model")), (error) =>
    isTooLong(run, error)
      ? Effect.flatMap(makeRoom(run), (isSmaller) =>
        isSmaller ? askModel(run, stepName(run, "model", "compacted")) : Effect.fail(error))
      : Effect.fail(error))
