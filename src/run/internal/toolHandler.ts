import * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Handle, ToolOutcome } from "./toolOutcome.ts"
import { contentPart, failed } from "./toolOutcome.ts"

type AnySchema = Schema.Codec<any, any>

const normalise = (error: unknown, tool: Tool.Any): unknown =>
  AiError.isAiErrorReason(error)
    ? AiError.make({ module: "Toolkit", method: `${tool.name}.handle`, reason: error })
    : error

/**
 * Runs the handler that the context holds for the tool: what `toolkit.handle` does, without its queue, fiber and
 * stream. A failure is an outcome; a defect stays one.
 */
export const handlerOf = (tool: Tool.Any, failureSchema: Schema.Constraint): Handle => {
  const encodeSuccess = Schema.encodeUnknownEffect(tool.successSchema as AnySchema)
  const encodeFailure = Schema.encodeUnknownEffect(failureSchema as AnySchema)
  return (params, callId, report) =>
    Effect.withFiber((fiber) => {
      const handler = fiber.context.mapUnsafe.get(tool.id) as Tool.Handler<string> | undefined
      if (handler === undefined) {
        return Effect.die(
          new Error(`No handler for tool "${tool.name}" in the context: provide toolkit.toLayer({ ${tool.name}: … })`)
        )
      }
      // The handler's type promises what the schemas encode: a value that does not encode is a bug in it.
      const preliminary = (value: unknown) =>
        report === undefined ? Effect.void : Effect.flatMap(Effect.orDie(encodeSuccess(value)), report)
      return handler.handler(params, { toolCallId: callId, preliminary }).pipe(
        Effect.updateContext((input: Context.Context<never>) => Context.merge(handler.context, input)),
        Effect.flatMap((value) =>
          Effect.map(Effect.orDie(encodeSuccess(value)), (encoded): ToolOutcome => ({
            encoded,
            isFailure: false,
            content: tool.toModelOutput?.(value)?.map(contentPart)
          }))
        ),
        Effect.catchCause((cause) => {
          const failure = cause.reasons.find(Cause.isFailReason)
          if (failure !== undefined) {
            return Effect.map(Effect.orDie(encodeFailure(normalise(failure.error, tool))), failed)
          }
          return Cause.hasInterruptsOnly(cause)
            ? Effect.succeed(failed(`Tool "${tool.name}" was interrupted before it finished.`))
            : Effect.failCause(cause as Cause.Cause<never>)
        })
      )
    })
}
