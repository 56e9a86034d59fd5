/**
 * Lists conversations by listing the keys of their heads, which are in the order of the ids.
 */
import * as Effect from "effect/Effect"
import type { Conversation, Primitives } from "../../../services/Session.ts"
import type * as SessionError from "../../../services/SessionError.ts"
import { type Client, trying } from "./s3Client.ts"
import * as format from "./s3Format.ts"
import { code, type Keys } from "./s3Keys.ts"

type Reason = SessionError.SessionErrorReason

const concurrency = 16

/** @internal */
export const make = (client: Client, keys: Keys): NonNullable<Primitives["list"]> => {
  /** `undefined` for what has no content, or is no head. */
  const conversation = Effect.fnUntraced(function*(
    key: string
  ): Effect.fn.Return<Conversation | undefined, Reason> {
    const found = yield* trying(client.get(key))
    if (found === undefined) return undefined
    const { head } = yield* Effect.fromResult(format.decode(key, found.body))
    return head.items === 0 || keys.head(head.id) !== key
      ? undefined
      : { id: head.id, version: head.version, changedAt: head.changedAt }
  })

  return Effect.fnUntraced(function*(
    { after, limit, prefix }
  ): Effect.fn.Return<ReadonlyArray<Conversation>, Reason> {
    const begin = after === undefined ? undefined : code(after)
    const found: Array<{ readonly order: string; readonly conversation: Conversation }> = []
    let token: string | undefined
    let group: string | undefined
    do {
      const next = yield* trying(
        client.list({
          prefix: keys.heads(prefix),
          ...(token === undefined ? { after: after === undefined ? undefined : keys.after(after) } : { token })
        })
      )
      token = next.token
      const there = next.keys.filter(keys.isHead)
      for (let start = 0; start < there.length; start += concurrency) {
        const some = there.slice(start, start + concurrency)
        // Within a group keys are in no order: it is read to its end.
        if (found.length >= limit && (group === undefined || keys.groupOf(some[0]!) !== group)) {
          token = undefined
          break
        }
        const read = yield* Effect.forEach(some, conversation, { concurrency })
        for (const one of read) {
          if (one === undefined || !one.id.startsWith(prefix)) continue
          const order = code(one.id)
          if (begin === undefined || order > begin) found.push({ order, conversation: one })
        }
        group = keys.groupOf(some.at(-1)!)
      }
    } while (token !== undefined)
    return found
      .sort((a, b) => a.order < b.order ? -1 : 1)
      .slice(0, limit)
      .map((one) => one.conversation)
  })
}
