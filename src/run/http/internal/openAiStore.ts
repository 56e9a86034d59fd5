/**
 * Responses that are kept: each a conversation of its own in the Session, so that they outlive the process and go where
 * conversations go. And where a run begins that goes on from one.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Ids } from "../../../services/Ids.ts"
import type { Item } from "../../../services/Item.ts"
import type { Record, Session } from "../../../services/Session.ts"
import type { SessionError } from "../../../services/SessionError.ts"
import { reserved } from "./exchange.ts"
import { refuseParam } from "./openAiError.ts"
import type { ResponseOrder } from "./openAiInput.ts"
import { type Refusal, refuse } from "./problem.ts"

type Sessions = Session["Service"]

const Stored = Schema.Struct({
  type: Schema.Literal("response"),
  /** Whose it is, where requests are somebody's. */
  owner: Schema.optionalKey(Schema.String),
  conversation_id: Schema.String,
  run_id: Schema.String,
  /** The version of the conversation that the run left. */
  version: Schema.Int,
  response: Schema.Record(Schema.String, Schema.Unknown)
})

export interface Stored extends Schema.Schema.Type<typeof Stored> {}

const decode = Schema.decodeUnknownOption(Stored)

const keyOf = (id: string): string => `${reserved}responses/${id}`

export const isId = (id: string): boolean => /^resp_[\w-]{1,100}$/.test(id)

/** A stored response of this owner. */
export const find = Effect.fnUntraced(function*(
  session: Sessions,
  id: string,
  owner: string | undefined
): Effect.fn.Return<Stored | undefined, SessionError> {
  if (!isId(id) || !session.capabilities.anyItem) return undefined
  const { items } = yield* session.loadItems(keyOf(id), { maxItems: 1 })
  const stored = Option.getOrUndefined(Option.flatMap(Option.fromUndefinedOr(items[0]), decode))
  return stored !== undefined && stored.owner === owner ? stored : undefined
})

export const save = (session: Sessions, id: string, stored: Stored): Effect.Effect<void, SessionError> =>
  Effect.asVoid(session.saveItems(keyOf(id), [stored as Item]))

export const remove = (session: Sessions, id: string): Effect.Effect<void, SessionError> => session.clear(keyOf(id))

/** Where a run begins. */
export interface Standing {
  readonly conversationId: string | undefined
  readonly input: ReadonlyArray<Item>
  /** Whether the response is stored. */
  readonly isKept: boolean
}

/** What came after the response, or nothing where the conversation stands where it left it. */
const isLater = (stored: Stored) => ({ commit, meta }: Record): boolean =>
  commit > stored.version && meta?.runId !== undefined && meta.runId !== stored.run_id

const shortened = refuse(
  409,
  "conversation-moved",
  "The conversation went on after this response and was shortened since. Go on from a later response."
)

/**
 * The items up to a response where the conversation went on after it, which makes this a branch; `undefined` where the
 * response is its last. What maintenance made shorter since carries no run, and is no later run's.
 */
const before = Effect.fnUntraced(function*(
  session: Sessions,
  stored: Stored
): Effect.fn.Return<ReadonlyArray<Item> | undefined, SessionError | Refusal> {
  if (!session.capabilities.versions) return undefined
  const { version } = yield* session.loadItems(stored.conversation_id, { maxItems: 0 })
  if (version === stored.version) return undefined
  const records = yield* Stream.runCollect(session.records(stored.conversation_id))
  const end = records.findIndex(isLater(stored))
  if (end < 0) return undefined
  const own = records.slice(0, end)
  return own.some(({ meta }) => meta?.runId === stored.run_id) ? own.map(({ item }) => item) : yield* shortened
})

const gone = refuseParam(
  "previous_response_id",
  "previous-response-not-found",
  "There is no such response, or it was not stored."
)

/**
 * A response goes on in its conversation where it is the last there. Otherwise what led to it is copied into a
 * conversation of its own. Nothing is written where the new response is not to be stored. A session that keeps only what
 * its provider knows keeps conversations, and no responses.
 */
export const standing = Effect.fnUntraced(function*(
  session: Sessions,
  ids: Ids,
  order: ResponseOrder,
  owner: string | undefined
): Effect.fn.Return<Standing, SessionError | Refusal> {
  const { conversationId, input, previousResponseId, store } = order
  const isKept = store && session.capabilities.anyItem
  if (conversationId !== undefined) return { conversationId, input, isKept }
  if (previousResponseId === undefined) {
    return { conversationId: store ? yield* ids.next("conv") : undefined, input, isKept }
  }
  const stored = yield* find(session, previousResponseId, owner)
  if (stored === undefined) return yield* gone
  const branch = yield* before(session, stored)
  if (!store) {
    const items = branch ?? (yield* session.loadItems(stored.conversation_id)).items
    return { conversationId: undefined, input: [...items, ...input], isKept }
  }
  if (branch === undefined) return { conversationId: stored.conversation_id, input, isKept }
  const copy = yield* ids.next("conv")
  yield* session.saveItems(copy, branch)
  return { conversationId: copy, input, isKept }
})
