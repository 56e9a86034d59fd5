/**
 * How far a run had come when something stopped it. Errors that stop a run short carry it, so that the caller can go
 * on from there with `Runner.resume`: at once, or in another process after a deploy.
 *
 * It holds the conversation but no secret of the program: no settings, no `context`, no key. Keep it on the server, or
 * sign it (`serialise` with a key) where a client keeps it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Item } from "../services/Item.ts"
import { ModelResponse } from "../services/ModelProvider.ts"
import { Usage } from "../services/Usage.ts"
import { Approval } from "./Approval.ts"
import { GuardrailResult } from "./Guardrail.ts"

/**
 * What one model request cost.
 *
 * @category schemas
 * @since 0.1.0
 */
export const RequestUsage = Schema.Struct({
  agent: Schema.String,
  provider: Schema.String,
  model: Schema.String,
  usage: Usage
})

/**
 * @category models
 * @since 0.1.0
 */
export interface RequestUsage extends Schema.Schema.Type<typeof RequestUsage> {}

/**
 * A decision that holds for all later calls of a tool in the run.
 *
 * @category schemas
 * @since 0.1.0
 */
export const StandingDecision = Schema.Struct({
  tool: Schema.String,
  isApproved: Schema.Boolean,
  reason: Schema.optionalKey(Schema.String)
})

const ToolAnswer = Schema.Struct({
  output: Item,
  tool: Schema.String,
  callId: Schema.String,
  value: Schema.Json,
  isFailure: Schema.Boolean
})

const RanCall = Schema.Struct({
  /** The JSON text exactly as the model wrote it. */
  arguments: Schema.String,
  answer: ToolAnswer
})

const fields = {
  /** Of this format. */
  version: Schema.Literal(1),
  runId: Schema.String,
  /** The agent that the run began with. */
  rootAgent: Schema.String,
  /** The agent that goes on. */
  agent: Schema.String,
  conversationId: Schema.optionalKey(Schema.String),
  /** The version of the conversation that the run last saw. */
  conversationVersion: Schema.optionalKey(Schema.Int),
  /** The conversation: what was there, the input and every finished turn. */
  items: Schema.Array(Item),
  /** The items that this run made: the last of `items`, unless a compaction replaced some of them. */
  newItems: Schema.Array(Item),
  /** How many of the last `items` no session has stored. */
  uncommitted: Schema.Int,
  /** What the model sees of `items`, where it is not the same. */
  view: Schema.optionalKey(Schema.Array(Item)),
  /** What of it a provider has not seen that keeps the conversation. */
  unsent: Schema.optionalKey(Schema.Array(Item)),
  /** Finished turns. */
  turns: Schema.Int,
  /** How often the run was resumed. */
  resumes: Schema.Int,
  maxTurns: Schema.Int,
  usage: Usage,
  requests: Schema.Array(RequestUsage),
  responses: Schema.Array(ModelResponse),
  guardrails: Schema.Array(GuardrailResult),
  /** Agents that have used a tool. */
  usedTools: Schema.Array(Schema.String),
  /** Deferred tools that the model has found. */
  foundTools: Schema.optionalKey(Schema.Array(Schema.String)),
  repairs: Schema.Int,
  /**
   * The calls that ran in the turn that stopped the run. If the model makes the same calls in its next answer, they get
   * the same outputs and do not run again.
   */
  ran: Schema.optionalKey(Schema.Array(RanCall)),
  standing: Schema.Array(StandingDecision),
  previousResponseId: Schema.optionalKey(Schema.String)
}

/**
 * The turn that waits for decisions.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenTurn {
  /** What the model answered. */
  readonly response: ModelResponse
  /** What tools have answered already. */
  readonly answers: ReadonlyArray<Schema.Schema.Type<typeof ToolAnswer>>
  /** What must be decided, here and in the agents called. */
  readonly approvals: ReadonlyArray<Approval>
  /** The runs of agents called that wait. */
  readonly nested: ReadonlyArray<{ readonly callId: string; readonly state: RunState }>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface RunState extends Schema.Schema.Type<Schema.Struct<typeof fields>> {
  readonly openTurn?: OpenTurn
}

/**
 * JSON by its Schema.
 *
 * @category schemas
 * @since 0.1.0
 */
export const RunState: Schema.Codec<RunState> = Schema.Struct({
  ...fields,
  openTurn: Schema.optionalKey(Schema.Struct({
    response: ModelResponse,
    answers: Schema.Array(ToolAnswer),
    approvals: Schema.Array(Approval),
    nested: Schema.Array(Schema.Struct({
      callId: Schema.String,
      state: Schema.suspend((): Schema.Codec<RunState> => RunState)
    }))
  }))
}) as unknown as Schema.Codec<RunState>

/**
 * A state was written by a later version of this library.
 *
 * @category reasons
 * @since 0.1.0
 */
export class UnsupportedVersion
  extends Schema.Error<UnsupportedVersion>("agent-layers/run/RunState/UnsupportedVersion")({
    _tag: Schema.tag("UnsupportedVersion"),
    found: Schema.Json,
    supported: Schema.Array(Schema.Int)
  })
{
  readonly isRetryable = false
  override get message(): string {
    return `The state has version ${String(this.found)}, and this version of agent-layers reads ` +
      `${this.supported.join(", ")}: resume it where it was written, or update`
  }
}

/**
 * A text is not a state.
 *
 * @category reasons
 * @since 0.1.0
 */
export class MalformedState extends Schema.Error<MalformedState>("agent-layers/run/RunState/MalformedState")({
  _tag: Schema.tag("MalformedState"),
  description: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `This is not a run's state: ${this.description}`
  }
}

/**
 * A signed state was altered, signed with another key, or signed for somebody else; or a signature is missing.
 *
 * @category reasons
 * @since 0.1.0
 */
export class NotAuthentic extends Schema.Error<NotAuthentic>("agent-layers/run/RunState/NotAuthentic")({
  _tag: Schema.tag("NotAuthentic"),
  description: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return this.description
  }
}

/**
 * @category schemas
 * @since 0.1.0
 */
export const RunStateErrorReason = Schema.Union([UnsupportedVersion, MalformedState, NotAuthentic])

/**
 * @category reasons
 * @since 0.1.0
 */
export type RunStateErrorReason = typeof RunStateErrorReason.Type

/**
 * A state cannot be read.
 *
 * @category errors
 * @since 0.1.0
 */
export class RunStateError extends Schema.Error<RunStateError>("agent-layers/run/RunState/RunStateError")({
  _tag: Schema.tag("RunStateError"),
  reason: RunStateErrorReason
}) {
  override readonly cause = this.reason
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  override get message(): string {
    return this.reason.message
  }
}

/**
 * @category options
 * @since 0.1.0
 */
export interface SigningOptions {
  /** At least 32 bytes of text. With it the state is signed (HMAC-SHA256), and only what is signed by it is read. */
  readonly key: Redacted.Redacted<string>
  /** Whose state it is (a tenant, a user): one signed for somebody else is refused. */
  readonly audience?: string | undefined
}

const supported = [1]

const encode = Schema.encodeEffect(Schema.fromJsonString(RunState))
const parse = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Json))
const decode = Schema.decodeUnknownEffect(RunState)

const bytes = (text: string) => new TextEncoder().encode(text)

const hmacKey = (options: SigningOptions) =>
  Effect.promise(() =>
    globalThis.crypto.subtle.importKey(
      "raw",
      bytes(Redacted.value(options.key)),
      { name: "HMAC", hash: "SHA-256" },
      false,
      ["sign", "verify"]
    )
  )

/** The audience has a length before it, so that no two pairs of audience and text are signed alike. */
const signed = (options: SigningOptions, text: string) => {
  const audience = options.audience ?? ""
  return bytes(`agent-layers/RunState\n${audience.length}\n${audience}\n${text}`)
}

const fail = (reason: RunStateErrorReason) => Effect.fail(new RunStateError({ reason }))

const checkKey = (options: SigningOptions) =>
  bytes(Redacted.value(options.key)).length >= 32
    ? Effect.void
    : Effect.die(new Error("RunState: a signing key needs at least 32 bytes"))

/**
 * The state as text: JSON, or with a key `<payload>.<signature>` in base64url, fit for a client to keep. A key of less
 * than 32 bytes is a defect.
 *
 * @category serialising
 * @since 0.1.0
 */
export const serialise = Effect.fnUntraced(function*(state: RunState, options?: SigningOptions) {
  // What a run made is in its types; that it encodes is tested.
  const text = yield* Effect.orDie(encode(state))
  if (options === undefined) return text
  yield* checkKey(options)
  const key = yield* hmacKey(options)
  const mac = yield* Effect.promise(() => globalThis.crypto.subtle.sign("HMAC", key, signed(options, text)))
  return `${Base64Url.encode(text)}.${Base64Url.encode(new Uint8Array(mac))}`
})

const verified = Effect.fnUntraced(function*(text: string, options: SigningOptions) {
  yield* checkKey(options)
  const [payload = "", signature = "", ...rest] = text.split(".")
  const json = Base64Url.decodeString(payload)
  const mac = Base64Url.decode(signature)
  if (rest.length > 0 || Result.isFailure(json) || Result.isFailure(mac)) {
    return yield* fail(
      new NotAuthentic({ description: "The state is not signed: a state that a client kept must be" })
    )
  }
  const key = yield* hmacKey(options)
  const isAuthentic = yield* Effect.promise(() =>
    globalThis.crypto.subtle.verify("HMAC", key, mac.success as BufferSource, signed(options, json.success))
  )
  if (!isAuthentic) {
    return yield* fail(
      new NotAuthentic({
        description:
          "The state's signature does not fit: it was altered, or signed with another key or for somebody else"
      })
    )
  }
  return json.success
})

/**
 * Reads what `serialise` wrote, of this version or any released one before it. With a key only a state that was signed
 * with it, for the same audience, is read.
 *
 * @category serialising
 * @since 0.1.0
 */
export const deserialise = Effect.fnUntraced(function*(
  text: string,
  options?: SigningOptions
): Effect.fn.Return<RunState, RunStateError> {
  const json = options === undefined ? text : yield* verified(text, options)
  const value = yield* Effect.catch(
    parse(json),
    (error) => fail(new MalformedState({ description: error.message }))
  )
  const version = typeof value === "object" && value !== null && "version" in value ? value["version"] : undefined
  if (version === undefined) return yield* fail(new MalformedState({ description: "it has no version" }))
  if (!supported.some((known) => known === version)) {
    return yield* fail(new UnsupportedVersion({ found: version as Schema.Json, supported }))
  }
  return yield* Effect.catch(decode(value), (error) => fail(new MalformedState({ description: error.message })))
})
