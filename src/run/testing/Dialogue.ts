/**
 * A test of an agent written as a dialogue: what the user says, what the model answers or calls, what a person approves.
 * The model's lines are its script, so that the test fails where the agent asks more or less of it than is written.
 *
 * ```ts
 * const { last } = yield* Dialogue.play(clerk, [
 *   Dialogue.user("I want my money back"),
 *   Dialogue.calls("refund", { order: "7" }),
 *   Dialogue.approves("refund"),
 *   Dialogue.says("Done.")
 * ])
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as ModelScripted from "../../layers/model/ModelScripted.ts"
import type { Item } from "../../services/Item.ts"
import type { ModelError, ModelErrorReason } from "../../services/ModelError.ts"
import { ModelProvider } from "../../services/ModelProvider.ts"
import type { Session } from "../../services/Session.ts"
import type { SessionError } from "../../services/SessionError.ts"
import type { Agent } from "../Agent.ts"
import * as Approval from "../Approval.ts"
import type { RunOptions } from "../RunConfig.ts"
import type { RunError } from "../RunError.ts"
import { isRunError } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import type { RunResult } from "../RunResult.ts"

/**
 * @category models
 * @since 0.1.0
 */
export type Line =
  | { readonly _tag: "User"; readonly input: string | ReadonlyArray<Item> }
  | { readonly _tag: "Model"; readonly step: ModelScripted.Step }
  | {
    readonly _tag: "Human"
    readonly tool: string
    readonly isApproved: boolean
    readonly reason: string | undefined
  }

/**
 * Begins a run on the conversation.
 *
 * @category lines
 * @since 0.1.0
 */
export const user = (input: string | ReadonlyArray<Item>): Line => ({ _tag: "User", input })

/**
 * The model answers with text.
 *
 * @category lines
 * @since 0.1.0
 */
export const says = (text: string): Line => model(ModelScripted.text(text))

/**
 * The model calls a tool, a handoff or an agent.
 *
 * @category lines
 * @since 0.1.0
 */
export const calls = (name: string, args: unknown = {}): Line => model(ModelScripted.toolCall(name, args))

/**
 * The model's request fails.
 *
 * @category lines
 * @since 0.1.0
 */
export const fails = (reason: ModelErrorReason): Line => model(ModelScripted.fail(reason))

/**
 * The model takes any step of a script: several calls, reasoning, a refusal.
 *
 * @category lines
 * @since 0.1.0
 */
export const model = (step: ModelScripted.Step): Line => ({ _tag: "Model", step })

/**
 * A person approves the first call of the tool that waits.
 *
 * @category lines
 * @since 0.1.0
 */
export const approves = (tool: string): Line => ({ _tag: "Human", tool, isApproved: true, reason: undefined })

/**
 * A person rejects the first call of the tool that waits.
 *
 * @category lines
 * @since 0.1.0
 */
export const rejects = (tool: string, reason?: string): Line => ({ _tag: "Human", tool, isApproved: false, reason })

/**
 * What was played.
 *
 * @category models
 * @since 0.1.0
 */
export interface Played<out Output> {
  /** One for each line of the user. */
  readonly results: ReadonlyArray<RunResult<Output>>
  readonly last: RunResult<Output>
  /** Everything that the model was asked. */
  readonly requests: ReadonlyArray<ModelScripted.ScriptedRequest>
}

type Human = Extract<Line, { readonly _tag: "Human" }>

interface Scene {
  readonly input: string | ReadonlyArray<Item>
  /** What people say each time that the run waits for them. */
  readonly rounds: Array<Array<Human>>
}

const wrong = (description: string) => Effect.die(new Error(`Dialogue: ${description}`))

const scenesOf = (lines: ReadonlyArray<Line>): ReadonlyArray<Scene> | undefined => {
  const scenes: Array<Scene> = []
  let before: Line | undefined
  for (const line of lines) {
    const scene = scenes.at(-1)
    if (line._tag === "User") scenes.push({ input: line.input, rounds: [] })
    else if (scene === undefined) return undefined
    else if (line._tag === "Human" && before?._tag === "Human") scene.rounds.at(-1)!.push(line)
    else if (line._tag === "Human") scene.rounds.push([line])
    before = line
  }
  return scenes
}

const decide = (approvals: ReadonlyArray<Approval.Approval>, humans: ReadonlyArray<Human>) => {
  const open = new Set(approvals)
  return Effect.forEach(humans, ({ isApproved, reason, tool }) => {
    const approval = Array.from(open).find((approval) => approval.tool === tool)
    if (approval === undefined) {
      return wrong(
        `no call of "${tool}" waits for a person; waiting: ${approvals.map((waiting) => waiting.tool).join(", ")}`
      )
    }
    open.delete(approval)
    return Effect.succeed(isApproved ? Approval.approve(approval) : Approval.reject(approval, { reason }))
  })
}

/**
 * Plays a dialogue: one run for each line of the user, on one conversation; runs that wait for a person are resumed with
 * what the next lines say. The agent's handlers and a Session are real; the model is the script.
 *
 * Fails as the run does that fails. A line that nothing asks for is a defect that says so: a model's step that is left
 * over, a decision that no call waits for.
 *
 * @category running
 * @since 0.1.0
 */
export const play = <Output, E, R>(
  agent: Agent<Output, E, R>,
  lines: ReadonlyArray<Line>,
  options: Omit<RunOptions, "conversationId"> & { readonly conversationId?: string | undefined } = {}
): Effect.Effect<
  Played<Output>,
  RunError | ModelError | SessionError | E,
  Session | R
> => {
  const conversationId = options.conversationId ?? "dialogue"
  const script = lines.flatMap((line) => line._tag === "Model" ? [line.step] : [])
  const playScene = ({ input, rounds }: Scene) => {
    let round = 0
    const goOn = (
      error: RunError | ModelError | SessionError | E
    ): Effect.Effect<RunResult<Output>, RunError | ModelError | SessionError | E, any> => {
      if (!isRunError(error) || error.reason._tag !== "ApprovalRequired" || round >= rounds.length) {
        return Effect.fail(error)
      }
      const { approvals, state } = error.reason
      return Effect.flatMap(
        decide(approvals, rounds[round++]!),
        (decisions) => Effect.catch(Runner.resume(agent, state, decisions, { ...options, conversationId }), goOn)
      )
    }
    return Runner.run(agent, input, { ...options, conversationId }).pipe(
      Effect.catch(goOn),
      Effect.tap(() =>
        round < rounds.length ? wrong(`nobody was asked to approve "${rounds[round]![0]!.tool}"`) : Effect.void
      )
    )
  }
  return Effect.scoped(Effect.gen(function*() {
    const scenes = scenesOf(lines)
    if (scenes === undefined || scenes.length === 0) return yield* wrong("the first line must be the user's")
    const scripted = yield* ModelScripted.make(script)
    const results = yield* Effect.provideService(Effect.forEach(scenes, playScene), ModelProvider, scripted.provider)
    return { results, last: results[results.length - 1]!, requests: yield* scripted.requests }
  })) as Effect.Effect<any, any, any>
}
