/** Sessions over the S3 of the tests, and short ways to look at what they hold. */
import * as SessionS3 from "agent-layers/layers/session/SessionS3"
import { type Item, text, user } from "agent-layers/services/Item"
import type { Session } from "agent-layers/services/Session"
import { Effect, Redacted } from "effect"
import type * as S3Peer from "./S3Peer.ts"

export const optionsOf = (peer: S3Peer.S3Peer): SessionS3.Options => ({
  bucket: peer.bucket,
  endpoint: peer.url,
  region: peer.region,
  credentials: { accessKeyId: peer.accessKeyId, secretAccessKey: Redacted.make(peer.secretAccessKey) }
})

export const open = (peer: S3Peer.S3Peer, options: Partial<SessionS3.Options> = {}) =>
  SessionS3.make({ ...optionsOf(peer), ...options })

export const texts = (session: Session["Service"], id: string) =>
  Effect.map(session.loadItems(id), ({ items }) => items.map(text))

/** An item that needs a segment of its own. */
export const large = (name: string): Item => user(`${name} ${"x".repeat(30_000)}`)

export const label = (item: Item): string => text(item).split(" ")[0]!

export const labels = (session: Session["Service"], id: string, maxItems?: number) =>
  Effect.map(session.loadItems(id, { maxItems }), ({ items }) => items.map(label))

export const objectsOf = (peer: S3Peer.S3Peer, folder: "head" | "items") =>
  [...peer.objects.keys()].filter((key) => key.includes(`/${folder}/`))
