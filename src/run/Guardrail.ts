/**
 * Checks that stand around an agent: on what it is asked (`input`), on its final answer (`output`), and around single
 * tools (`toolInput`, `toolOutput`). A check is an Effect, so that what it needs is in the agent's type, and so are its
 * own failures. A guardrail that trips ends the run with `RunError.GuardrailTripped`; what it rejected is not stored, and the tools
 * that ran before are. Guardrails fail closed: any verdict but `pass` (and `reject` of a tool's guardrail) trips.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Item } from "../services/Item.ts"

/**
 * What a guardrail found. `info` is JSON, for the code that reads the result; any other value becomes JSON.
 *
 * @category schemas
 * @since 0.1.0
 */
export const GuardrailResult = Schema.Struct({
  name: Schema.String,
  kind: Schema.Literals(["input", "output", "toolInput", "toolOutput"]),
  agent: Schema.String,
  /** `rejected`: the model got a text in place of the call or of its output, and the run went on. */
  outcome: Schema.Literals(["passed", "rejected", "tripped"]),
  /** The tool call, where one was checked. */
  callId: Schema.optionalKey(Schema.String),
  info: Schema.optionalKey(Schema.Json)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface GuardrailResult extends Schema.Schema.Type<typeof GuardrailResult> {}

/**
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | { readonly _tag: "Pass"; readonly info?: Schema.Json | undefined }
  | { readonly _tag: "Trip"; readonly info?: Schema.Json | undefined }

/**
 * @category models
 * @since 0.1.0
 */
export type ToolVerdict =
  | Verdict
  | { readonly _tag: "Reject"; readonly message: string; readonly info?: Schema.Json | undefined }

/**
 * @category verdicts
 * @since 0.1.0
 */
export const pass = (info?: Schema.Json): Verdict => ({ _tag: "Pass", info })

/**
 * Ends the run.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const trip = (info?: Schema.Json): Verdict => ({ _tag: "Trip", info })

/**
 * Gives the model `message` instead: in place of running the tool, or in place of what the tool answered.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const reject = (message: string, info?: Schema.Json): ToolVerdict => ({ _tag: "Reject", message, info })

/**
 * @category models
 * @since 0.1.0
 */
export interface InputGuardrail<out E = never, out R = never> {
  readonly name: string
  readonly mode: "parallel" | "blocking"
  readonly check: (input: GuardedInput) => Effect.Effect<Verdict, E, R>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface GuardedInput {
  readonly agent: string
  /** What the run was given, without the history before it. */
  readonly input: ReadonlyArray<Item>
  /** The caller's own value, `context` of the run's options. */
  readonly context: unknown
}

/**
 * @category models
 * @since 0.1.0
 */
export interface OutputGuardrail<in Output, out E = never, out R = never> {
  readonly name: string
  readonly check: (output: GuardedOutput<Output>) => Effect.Effect<Verdict, E, R>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface GuardedOutput<out Output> {
  readonly agent: string
  readonly finalOutput: Output
  readonly context: unknown
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ToolInputGuardrail<out E = never, out R = never> {
  readonly name: string
  readonly check: (call: GuardedCall) => Effect.Effect<ToolVerdict, E, R>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface GuardedCall {
  readonly agent: string
  readonly tool: string
  readonly callId: string
  /** The JSON text exactly as the model wrote it. */
  readonly arguments: string
  readonly context: unknown
}

/**
 * @category models
 * @since 0.1.0
 */
export interface ToolOutputGuardrail<out E = never, out R = never> {
  readonly name: string
  readonly check: (
    call: GuardedCall & {
      /** What the model would be given. */
      readonly output: string
      readonly isFailure: boolean
    }
  ) => Effect.Effect<ToolVerdict, E, R>
}

/**
 * Checks what the first agent of a run is asked, once: not after a handoff, nor when a run is resumed.
 *
 * `blocking` finishes before the model is asked. `parallel` (the default) runs beside the first model call and
 * interrupts it when it trips: the call may be paid for and its deltas may have been seen, but no tool runs and nothing
 * is stored before every guardrail has passed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const input = <E = never, R = never>(options: {
  readonly name: string
  readonly mode?: "parallel" | "blocking" | undefined
  readonly check: (input: GuardedInput) => Effect.Effect<Verdict, E, R>
}): InputGuardrail<E, R> => ({ name: options.name, mode: options.mode ?? "parallel", check: options.check })

/**
 * Checks a final answer before it is stored, all of them at the same time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const output = <Output = any, E = never, R = never>(options: {
  readonly name: string
  readonly check: (output: GuardedOutput<Output>) => Effect.Effect<Verdict, E, R>
}): OutputGuardrail<Output, E, R> => options

/**
 * Checks a call before its tool runs: after an approval, and one guardrail after another in their order.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toolInput = <E = never, R = never>(options: {
  readonly name: string
  readonly check: (call: GuardedCall) => Effect.Effect<ToolVerdict, E, R>
}): ToolInputGuardrail<E, R> => options

/**
 * Checks what a tool answered before the model sees it, one guardrail after another in their order.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toolOutput = <E = never, R = never>(
  options: ToolOutputGuardrail<E, R>
): ToolOutputGuardrail<E, R> => options
