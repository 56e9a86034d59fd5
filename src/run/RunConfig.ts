/**
 * What the caller of a run may choose.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { FunctionCall, Item } from "../services/Item.ts"
import type { ModelError } from "../services/ModelError.ts"
import type { ModelRequest, ModelResponse, ModelSettings } from "../services/ModelProvider.ts"
import type { RunError } from "./RunError.ts"

/**
 * What to say to the agent: the text of a user message, or items. No items: go on from where the conversation stands.
 *
 * @category models
 * @since 0.1.0
 */
export type RunInput = string | ReadonlyArray<Item>

/**
 * Who a hook is told about. `path` holds the ids of the calls that lead to an agent called like a tool; empty otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface HookContext {
  readonly runId: string
  readonly agent: string
  readonly path: ReadonlyArray<string>
  /** Counted from 1; 0 before the first. */
  readonly turn: number
  /** The caller's own value, `context` of the run's options. */
  readonly context: unknown
}

/**
 * Effects at fixed moments of a run. The run waits for each, and one that fails or dies ends the run. They are called for
 * agents called like tools too.
 *
 * @category options
 * @since 0.1.0
 */
export interface Hooks<out E = never, out R = never> {
  readonly onRunStart?: ((context: HookContext) => Effect.Effect<void, E, R>) | undefined
  /** An agent takes over: at the start, and after each handoff. */
  readonly onAgentStart?: ((context: HookContext) => Effect.Effect<void, E, R>) | undefined
  readonly onTurnStart?: ((context: HookContext) => Effect.Effect<void, E, R>) | undefined
  readonly onModelStart?: ((context: HookContext, request: ModelRequest) => Effect.Effect<void, E, R>) | undefined
  readonly onModelEnd?: ((context: HookContext, response: ModelResponse) => Effect.Effect<void, E, R>) | undefined
  /**
   * A tool or a called agent starts: after the decision about it and the guardrails of its input, once a call. A resumed run
   * does not tell it again for an agent that it goes on with; a durable run that is carried out again does.
   */
  readonly onToolStart?: ((context: HookContext, call: FunctionCall) => Effect.Effect<void, E, R>) | undefined
  /** A call has its output. A call that was refused has one without a start. */
  readonly onToolEnd?:
    | ((context: HookContext, call: FunctionCall, output: Item) => Effect.Effect<void, E, R>)
    | undefined
  readonly onHandoff?:
    | ((context: HookContext, handoff: { readonly from: string; readonly to: string }) => Effect.Effect<void, E, R>)
    | undefined
  /** The final answer, before it is stored. */
  readonly onAgentEnd?: ((context: HookContext, finalOutput: unknown) => Effect.Effect<void, E, R>) | undefined
  /** The run has its result, and everything is stored. */
  readonly onRunEnd?: ((context: HookContext, finalOutput: unknown) => Effect.Effect<void, E, R>) | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface RunOptions<out E = never, out R = never> {
  /**
   * The conversation to load and to commit to. `"new"` makes an id, which the result returns: return it too where the
   * id comes from a client. Absent: the run remembers nothing, and needs no `Session`.
   */
  readonly conversationId?: string | undefined
  /**
   * At most so many of the latest stored items are loaded, from the first user message among them on. Default: all.
   * An input without a message, such as `[]` or outputs of calls, continues the latest user message: the run then loads at
   * least that message and all that follows it.
   */
  readonly maxItems?: number | undefined
  /** The model's name for this run; wins over the agent's. */
  readonly model?: string | undefined
  /** Wins, field by field, over the agent's. */
  readonly settings?: ModelSettings | undefined
  /**
   * Model calls before the run gives up with `MaxTurnsExceeded`. A turn is one model call with the tools it asks for.
   *
   * @default 10
   */
  readonly maxTurns?: number | undefined
  /**
   * Tools of one turn that run at the same time; their outputs come in the order of the calls either way.
   *
   * @default "unbounded"
   */
  readonly toolConcurrency?: number | "unbounded" | undefined
  /**
   * What happens where another run is busy with the conversation in this process. `"fail"`:
   * `ConversationBusy`, before the model is asked. `"wait"`: the run waits its turn, 60 seconds or as long as given, and
   * then fails so. Runs in other processes are noticed at the first commit (`VersionConflict`). A session without
   * versions notices nothing: its runs always wait, without a limit where none is given.
   *
   * @default "fail"
   */
  readonly onConflict?: "fail" | "wait" | { readonly wait: Duration.Input } | undefined
  /**
   * Go on after a response that the provider keeps, instead of a session: only what is new is sent, and nothing is
   * stored here. The result's `lastResponseId` is the next run's.
   */
  readonly previousResponseId?: string | undefined
  /** The id of a conversation that the provider keeps, instead of a session: only what is new is sent. */
  readonly providerConversationId?: string | undefined
  /**
   * Whether a tool's failure goes back to the model or ends the run with `ToolFailed`. What a tool itself says wins. A call
   * that was not run (an unknown tool, bad arguments, a rejection) always goes back.
   *
   * @default "return"
   */
  readonly onToolFailure?: "return" | "fail" | undefined
  readonly hooks?: Hooks<E, R> | undefined
  /**
   * What the model is shown at the start, made of the loaded history and the new input. What is stored is the input as it
   * was given, whatever this answers.
   */
  readonly history?:
    | ((
      history: ReadonlyArray<Item>,
      input: ReadonlyArray<Item>
    ) => Effect.Effect<ReadonlyArray<Item>, E, R>)
    | undefined
  /**
   * The last word on every request: what this answers is sent, mended where it is no valid history. Nothing of it is
   * stored, and the next turn begins with the whole again.
   */
  readonly inputFilter?:
    | ((
      request: { readonly instructions: string | undefined; readonly input: ReadonlyArray<Item> },
      context: HookContext
    ) => Effect.Effect<
      { readonly instructions: string | undefined; readonly input: ReadonlyArray<Item> },
      E,
      R
    >)
    | undefined
  /**
   * A final answer in place of an error: of `MaxTurnsExceeded`, of `InvalidFinalOutput`, or of a model's refusal. It is
   * checked by the agent's output schema and its guardrails and stored as the agent's answer. `None`: the error stands.
   */
  readonly recover?:
    | ((error: RunError | ModelError, context: HookContext) => Effect.Effect<Option.Option<unknown>, E, R>)
    | undefined
  /**
   * Asked after each turn that is stored: `true` ends the run there with `Stopped`, which `Runner.resume` goes on from. A
   * final answer is not held back.
   */
  readonly stopAfterTurn?: Effect.Effect<boolean, E, R> | undefined
  /** Handed to tool handlers through `ToolContext`; never sent to a model. */
  readonly context?: unknown
  /** Describes the trace that the run begins, unless it is part of one. */
  readonly trace?: {
    /** Default: the agent's name. */
    readonly workflowName?: string | undefined
    readonly groupId?: string | undefined
    readonly metadata?: Readonly<Record<string, string>> | undefined
  } | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface StreamOptions<out E = never, out R = never> extends RunOptions<E, R> {
  /**
   * Events that wait for a slow consumer before the run itself waits.
   *
   * @default 1024
   */
  readonly bufferSize?: number | undefined
  /**
   * Whether the provider's own events come too, as `Raw`, each before what it means here.
   *
   * @default false
   */
  readonly rawEvents?: boolean | undefined
  /**
   * What leaving the stream early does: interrupt the run, or let it finish and store what it comes to. A failure of a
   * run that nobody listens to is logged.
   *
   * @default "interrupt"
   */
  readonly onDisconnect?: "interrupt" | "finish" | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface ResumeOptions<out E = never, out R = never>
  extends Omit<StreamOptions<E, R>, "conversationId" | "maxItems" | "history" | "previousResponseId">
{
  /** The conversation that the run is about, where it has one: a state of another one is refused. */
  readonly conversationId?: string | undefined
  /**
   * What happens where the conversation was added to since the run was suspended. `"fail"`: `ConversationMoved`, before
   * any tool runs. `"append"`: the suspended turn is added after what came meanwhile.
   *
   * @default "fail"
   */
  readonly onMoved?: "fail" | "append" | undefined
}
