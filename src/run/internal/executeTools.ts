import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import type * as Tool from "effect/ai/Tool"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { ContentPart, FunctionCall } from "../../services/Item.ts"
import { functionCallOutput, Item } from "../../services/Item.ts"
import { ToolContext } from "../../services/ToolContext.ts"
import * as Tracer from "../../services/Tracer.ts"
import * as RunError from "../RunError.ts"
import type { PlannedTool } from "./plan.ts"
import type { Run } from "./state.ts"
import { fail, stateOf } from "./state.ts"

/** What a call came to. `encoded` is what the tool's success or failure schema makes of it. */
export interface ToolOutcome {
  readonly encoded: unknown
  readonly isFailure: boolean
  /** What the tool wants the model to see instead. */
  readonly modelOutput?: ReadonlyArray<Prompt.ToolModelOutputPart> | undefined
}

const failed = (encoded: unknown): ToolOutcome => ({ encoded, isFailure: true })

const normalise = (error: unknown, tool: Tool.Any): unknown =>
  AiError.isAiErrorReason(error)
    ? AiError.make({ module: "Toolkit", method: `${tool.name}.handle`, reason: error })
    : error

/**
 * Decodes the arguments, runs the handler that the context holds for the tool, and encodes what it gives: what
 * `toolkit.handle` does, without its queue, fiber and stream. A failure is an outcome; a defect stays one.
 */
export const handle = (
  planned: PlannedTool,
  rawArguments: string,
  callId: string
): Effect.Effect<ToolOutcome> =>
  Effect.withFiber((fiber) => {
    const { tool } = planned
    const handler = fiber.context.mapUnsafe.get(tool.id) as Tool.Handler<string> | undefined
    if (handler === undefined) {
      return Effect.die(
        new Error(`No handler for tool "${tool.name}" in the context: provide toolkit.toLayer({ ${tool.name}: … })`)
      )
    }
    const run = (params: unknown) =>
      handler.handler(params, { toolCallId: callId, preliminary: () => Effect.void }).pipe(
        Effect.updateContext((input: Context.Context<never>) => Context.merge(handler.context, input)),
        Effect.flatMap((value) =>
          // The handler's type promises what the schema encodes: a value that does not encode is a bug in it.
          Effect.map(Effect.orDie(planned.encodeSuccess(value)), (encoded): ToolOutcome => ({
            encoded,
            isFailure: false,
            modelOutput: tool.toModelOutput?.(value)
          }))
        )
      )
    return Effect.matchEffect(planned.decode(rawArguments === "" ? "{}" : rawArguments), {
      onFailure: (error) =>
        Effect.succeed(failed(
          `The arguments of tool "${tool.name}" are not valid: ${error.message}. Call it again with corrected arguments.`
        )),
      onSuccess: (params) =>
        Effect.catchCause(run(params), (cause) => {
          const failure = cause.reasons.find(Cause.isFailReason)
          if (failure !== undefined) {
            // As above, for the failure that the handler's type promises.
            return Effect.map(Effect.orDie(planned.encodeFailure(normalise(failure.error, tool))), failed)
          }
          return Cause.hasInterruptsOnly(cause)
            ? Effect.succeed(failed(`Tool "${tool.name}" was interrupted before it finished.`))
            : Effect.failCause(cause as Cause.Cause<never>)
        })
    })
  })

const toJson = Schema.encodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

const asText = (encoded: unknown): string =>
  typeof encoded === "string"
    ? encoded
    : encoded === undefined
    ? ""
    : Result.getOrThrowWith(toJson(encoded), () =>
      new Error("what it answered is not JSON: give the tool a schema that encodes to JSON"))

const contentPart = (part: Prompt.ToolModelOutputPart): ContentPart => {
  if (part.type === "text") return { type: "input_text", text: part.text }
  const data = part.data instanceof URL
    ? part.data.href
    : typeof part.data === "string"
    ? part.data
    : `data:${part.mediaType};base64,${Base64.encode(part.data)}`
  return part.mediaType.startsWith("image/")
    ? { type: "input_image", image_url: data, detail: "auto" }
    : { type: "input_file", file_data: data, ...(part.fileName === undefined ? {} : { filename: part.fileName }) }
}

/** A failure is marked in words, since the wire form has no field for it. */
const visible = (outcome: ToolOutcome): string | ReadonlyArray<ContentPart> =>
  outcome.isFailure
    ? `Error: ${asText(outcome.encoded)}`
    : outcome.modelOutput === undefined
    ? asText(outcome.encoded)
    : outcome.modelOutput.map(contentPart)

const ToolStep = Schema.Struct({ output: Item, isFailure: Schema.Boolean })

const schemas = () => ({ success: ToolStep, error: Schema.Never })

const notExecuted = (run: Run, call: FunctionCall, isCutOff: boolean): ToolOutcome | undefined => {
  if (isCutOff) {
    return failed(`Tool "${call.name}" was not run: the response was cut off before it was complete. Call it again.`)
  }
  if (run.plan.tools.has(call.name)) return undefined
  const names = Array.from(run.plan.tools.keys()).join(", ")
  return failed(`There is no tool "${call.name}". ${names === "" ? "No tools are available." : `Available: ${names}.`}`)
}

const executeTool = (run: Run, call: FunctionCall, isCutOff: boolean) => {
  const refused = notExecuted(run, call, isCutOff)
  const outcome = refused !== undefined
    ? Effect.succeed(refused)
    : Effect.provideService(handle(run.plan.tools.get(call.name)!, call.arguments, call.call_id), ToolContext, {
      agent: run.agent.name,
      runId: run.id,
      conversationId: run.conversationId,
      turn: run.turn,
      callId: call.call_id,
      toolName: call.name,
      rawArguments: call.arguments,
      usage: run.usage,
      context: run.options.context
    })
  const step = run.journal.step(
    { runId: run.id, name: `tool/${run.turn}/${call.call_id}` },
    schemas,
    Effect.map(outcome, (outcome) => ({
      output: functionCallOutput(call.call_id, visible(outcome)) as Item,
      isFailure: outcome.isFailure
    }))
  )
  const traced = Tracer.withSpan(
    step,
    () => ({ _tag: "Tool" as const, name: call.name, callId: call.call_id, input: call.arguments }),
    (exit) =>
      Exit.isFailure(exit) ? {} : {
        output: (exit.value.output as { readonly output?: unknown }).output,
        isFailure: exit.value.isFailure
      }
  )
  const settled = Effect.catchDefect(traced, (cause) =>
    Effect.fail(
      fail(
        run,
        new RunError.ToolDefect({
          tool: call.name,
          callId: call.call_id,
          cause,
          state: stateOf(run, run.turn - 1)
        })
      )
    ))
  const { emit } = run
  if (emit === undefined) return Effect.map(settled, ({ output }) => output)
  const { arguments: args, call_id: callId, name } = call
  return emit([{ _tag: "ToolStarted", callId, name, arguments: args }]).pipe(
    Effect.andThen(settled),
    Effect.tap(({ isFailure, output }) => emit([{ _tag: "ToolFinished", callId, name, output, isFailure }])),
    Effect.map(({ output }) => output)
  )
}

/**
 * Runs the tools that a response asks for, at the same time, and gives their outputs in the order of the calls. A
 * response that was cut off starts no tool: its calls may be cut off too. Each call has a fiber of its own, alone or
 * not, so that what a handler forks ends with it.
 */
export const executeTools = (
  run: Run,
  calls: ReadonlyArray<FunctionCall>,
  isCutOff: boolean
): Effect.Effect<ReadonlyArray<Item>, RunError.RunError> => {
  const { toolConcurrency = "unbounded" } = run.options
  const execute = (some: ReadonlyArray<FunctionCall>, concurrency: number | "unbounded") =>
    Effect.forEach(some, (call) => executeTool(run, call, isCutOff), { concurrency })
  // With a concurrency of 1 `forEach` forks nothing.
  return toolConcurrency === 1
    ? Effect.map(Effect.forEach(calls, (call) => execute([call], "unbounded")), (outputs) => outputs.flat())
    : execute(calls, toolConcurrency)
}
