import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { RunJournal } from "../../services/RunJournal.ts"
import type { Loaded, LoadOptions, Session } from "../../services/Session.ts"
import { SessionError } from "../../services/SessionError.ts"

export const AtVersion = Schema.Struct({ version: Schema.Int })

const schemas = () => ({ success: AtVersion, error: SessionError })

interface About {
  readonly id: string
  readonly conversationId: string | undefined
  readonly session: Session["Service"] | undefined
}

/** The conversation as it was at a version that this run saw. */
export const loadAt = Effect.fnUntraced(function*(
  { conversationId, session }: About,
  version: number,
  options: LoadOptions,
  latest?: Loaded
): Effect.fn.Return<Loaded, SessionError> {
  const loaded = latest ?? (yield* session!.loadItems(conversationId!, options))
  if (loaded.version === version) return loaded
  const records = yield* session!.records(conversationId!).pipe(
    Stream.takeWhile(({ commit }) => commit <= version),
    Stream.runCollect
  )
  const items = records.map(({ item }) => item)
  return {
    version,
    items: items.slice(Math.max(0, items.length - (options.maxItems ?? items.length))),
    isSuffix: false
  }
})

/**
 * The conversation as it was when the run first saw it. Its version is recorded, so that a run that is carried out
 * again does not take for history what it has stored itself.
 */
export const loadHistory = Effect.fnUntraced(function*(
  about: About,
  name: string,
  options: LoadOptions
): Effect.fn.Return<Loaded, SessionError> {
  let loaded: Loaded | undefined
  const { version } = yield* (yield* RunJournal).step(
    { runId: about.id, name },
    schemas,
    Effect.map(about.session!.loadItems(about.conversationId!, options), (first) => {
      loaded = first
      return { version: first.version }
    })
  )
  return yield* loadAt(about, version, options, loaded)
})
