/**
 * The decorators of `Session`, to run laws over: alone, in pairs and in deep stacks. A decorator is made anew for each
 * subject, with what has to outlive its sessions, such as the store of a backup.
 */
import * as SessionCached from "agent-layers/layers/session/SessionCached"
import * as SessionCompacted from "agent-layers/layers/session/SessionCompacted"
import * as SessionCompressed from "agent-layers/layers/session/SessionCompressed"
import * as SessionEncrypted from "agent-layers/layers/session/SessionEncrypted"
import * as SessionFallback from "agent-layers/layers/session/SessionFallback"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionRetention from "agent-layers/layers/session/SessionRetention"
import { user } from "agent-layers/services/Item"
import type { SessionSubject } from "agent-layers/services/laws/SessionLaws"
import type { Capabilities } from "agent-layers/services/Session"
import * as Session from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { Context, Effect, Layer, Redacted } from "effect"

export type DecoratorLayer = Layer.Layer<Session.Session, SessionError, Session.Session>

export interface Decorator {
  readonly name: string
  readonly make: Effect.Effect<() => DecoratorLayer>
  /** What it changes about the session below. */
  readonly capabilities?: Partial<Capabilities>
  /** What it makes of the order of a stack. */
  readonly role?: "reads" | "hides"
  /** What the session below calls a conversation. */
  readonly rename?: (id: string) => string
}

export const secret = (byte: number) => Redacted.make(Buffer.alloc(32, byte).toString("base64"))

/** Lets nothing pass as it is, whatever its size. */
const compressed = { threshold: 0 }

export const decorators: ReadonlyArray<Decorator> = [
  {
    name: "prefixed",
    make: Effect.succeed(() => Session.prefixed("ten/ant")),
    rename: (id) => `ten%2Fant/${id}`
  },
  { name: "cached", make: Effect.succeed(() => SessionCached.layer({ maxItems: 2_000 })) },
  {
    name: "fallback",
    make: Effect.map(
      SessionMemory.makeStore,
      (store) => () => SessionFallback.layer({ backups: [{ name: "b", layer: SessionMemory.layerWith({ store }) }] })
    )
  },
  {
    name: "retention",
    make: Effect.succeed(() => SessionRetention.layer({ maxItems: 2 })),
    capabilities: { readsItems: true },
    role: "reads"
  },
  {
    name: "compacted",
    make: Effect.succeed(() =>
      SessionCompacted.layer({ maxItems: 2, keepItems: 1, compact: () => Effect.succeed([user("s")]) })
    ),
    capabilities: { readsItems: true },
    role: "reads"
  },
  { name: "compressed", make: Effect.succeed(() => SessionCompressed.layer(compressed)), role: "hides" },
  {
    name: "encrypted",
    make: Effect.succeed(() => SessionEncrypted.layer({ keys: [{ id: "k", secret: secret(1) }] })),
    capabilities: { sealed: true },
    role: "hides"
  }
]

const named = (name: string): Decorator => {
  const found = decorators.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no decorator ${name}`)
  return found
}

/** Outermost first. */
export type Stack = ReadonlyArray<Decorator>

export const nameOf = (stack: Stack, backend: string): string =>
  stack.reduceRight((inner, { name }) => `${name}(${inner})`, backend)

/**
 * Whether a stack can be built: nothing that looks into items stands inside of something that hides them, and no plain
 * backup outside of encryption.
 */
export const isAllowed = (stack: Stack): boolean =>
  stack.every(({ name, role }, index) => {
    const outside = stack.slice(0, index)
    return !(role === "reads" && outside.some((one) => one.role === "hides")) &&
      !(name === "encrypted" && outside.some((one) => one.name === "fallback"))
  })

export const pairs: ReadonlyArray<Stack> = decorators.flatMap((outer) => decorators.map((inner) => [outer, inner]))

export const deepStacks: ReadonlyArray<Stack> = [
  ["cached", "compressed", "encrypted"],
  ["compacted", "cached", "compressed", "encrypted", "fallback"],
  ["prefixed", "retention", "compacted", "compressed", "encrypted", "fallback", "cached"]
].map((names) => names.map(named))

/** A stack over a backend as a subject of laws. */
export const decorated = (stack: Stack, backend: SessionSubject): Effect.Effect<SessionSubject> =>
  Effect.map(Effect.forEach(stack, ({ make }) => make), (made) => {
    const rename = (id: string) => stack.reduce((id, { rename }) => rename?.(id) ?? id, id)
    const corruptLast = backend.faults?.corruptLast
    return {
      ...backend,
      open: Effect.suspend(() =>
        Effect.map(
          Layer.build(
            Session.wrap(
              Layer.effect(Session.Session, backend.open),
              made.map((layer) => layer())
            )
          ),
          Context.get(Session.Session)
        )
      ),
      capabilities: Object.assign({}, backend.capabilities, ...stack.map((one) => one.capabilities)) as Capabilities,
      faults: {
        ...backend.faults,
        ...(corruptLast === undefined ? undefined : { corruptLast: (id: string) => corruptLast(rename(id)) })
      }
    }
  })
