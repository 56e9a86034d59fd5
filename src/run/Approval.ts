/**
 * A call that a person must approve before it runs, and the decision about it. Both are JSON by Schema, so that the
 * question can be shown in one process and answered in another. A decision is bound to one call and to the very
 * arguments that were shown, and is used once.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * @category schemas
 * @since 0.1.0
 */
export const Approval = Schema.Struct({
  /** The address of the call in its run: the calls of agents that lead to it, and its own id. */
  id: Schema.String,
  /** The agent that asks. Agents may share a name; the id tells them apart. */
  agent: Schema.String,
  tool: Schema.String,
  callId: Schema.String,
  /** The JSON text exactly as the model wrote it. */
  arguments: Schema.String,
  /** SHA-256 of tool and arguments, in hexadecimal. */
  argumentsHash: Schema.String
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Approval extends Schema.Schema.Type<typeof Approval> {}

/**
 * @category schemas
 * @since 0.1.0
 */
export const Decision = Schema.Struct({
  /** Of the approval. */
  id: Schema.String,
  argumentsHash: Schema.String,
  isApproved: Schema.Boolean,
  /** What the model is told of a rejection. */
  reason: Schema.optionalKey(Schema.String),
  /** Whether it holds for all later calls of the tool in this run, by the same agent call. */
  always: Schema.optionalKey(Schema.Boolean)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Decision extends Schema.Schema.Type<typeof Decision> {}

/**
 * @category deciding
 * @since 0.1.0
 */
export const approve = (approval: Approval, options: { readonly always?: boolean | undefined } = {}): Decision => ({
  id: approval.id,
  argumentsHash: approval.argumentsHash,
  isApproved: true,
  ...(options.always === undefined ? undefined : { always: options.always })
})

/**
 * The tool is not run, and the model is told so.
 *
 * @category deciding
 * @since 0.1.0
 */
export const reject = (
  approval: Approval,
  options: { readonly reason?: string | undefined; readonly always?: boolean | undefined } = {}
): Decision => ({
  id: approval.id,
  argumentsHash: approval.argumentsHash,
  isApproved: false,
  ...(options.reason === undefined ? undefined : { reason: options.reason }),
  ...(options.always === undefined ? undefined : { always: options.always })
})
