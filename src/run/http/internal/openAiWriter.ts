/** How a run is written for its client, piece by piece; who does not stream takes the body at the end. */
import * as Sse from "effect/encoding/Sse"
import type { Usage } from "../../../services/Usage.ts"
import type { Shown } from "./openAiShown.ts"
import type { Problem } from "./problem.ts"

export interface Ended {
  readonly usage: Usage
  readonly incompleteReason: string | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

/** What is sent to a client that streams. */
export type Frames = ReadonlyArray<Uint8Array>

export interface Writer {
  /** The id that the client is told. */
  readonly id: string
  readonly begin: () => Frames
  readonly write: (shown: Shown) => Frames
  /** From now on the body is whole. What is answered are the last frames, made when they are asked for. */
  readonly complete: (ended: Ended) => () => Frames
  readonly fail: (problem: Problem, status: "failed" | "cancelled") => Frames
  /** It was to be stored, and could not be. */
  readonly forgo: () => void
  /** As it stands. */
  readonly body: () => Readonly<Record<string, unknown>>
}

const encoder = new TextEncoder()

export const frame = (data: unknown, event?: string): Uint8Array =>
  encoder.encode(Sse.encoder.write({
    _tag: "Event",
    id: undefined,
    event: event ?? "message",
    data: typeof data === "string" ? data : JSON.stringify(data)
  }))
