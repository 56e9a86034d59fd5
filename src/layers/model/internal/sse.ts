/**
 * An incremental reader of Server-Sent Events that hands over the `data` of each event. Names, ids and retry times are
 * passed by: the APIs that are read with it repeat the name inside the data.
 */

/** Longest event that is kept while it arrives; images in base64 come in one. */
const maxPending = 256 * 1024 * 1024

export class EventTooLarge {
  readonly _tag = "EventTooLarge"
}

export interface SseReader {
  /** Gives the data of each event that the text completes. Texts may be cut anywhere, also inside a line end. */
  readonly feed: (text: string, onData: (data: string) => void) => EventTooLarge | undefined
  /** Gives what stood at the end without the blank line that ends an event. */
  readonly end: (onData: (data: string) => void) => void
}

const CR = 13
const space = 32

export const makeSseReader = (): SseReader => {
  let pieces: Array<string> = []
  let pieceLength = 0
  let data: string | undefined
  let isFirst = true

  const line = (text: string, from: number, to: number): void => {
    if (!text.startsWith("data", from)) return
    if (to === from + 4) {
      data = data === undefined ? "" : `${data}\n`
    } else if (text.charCodeAt(from + 4) === 58) {
      const start = text.charCodeAt(from + 5) === space ? from + 6 : from + 5
      const value = text.slice(start, to)
      data = data === undefined ? value : `${data}\n${value}`
    }
  }

  const feed: SseReader["feed"] = (chunk, onData) => {
    if (chunk === "") return undefined
    let text = chunk
    if (isFirst) {
      isFirst = false
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1)
    }
    if (!text.includes("\n")) {
      pieces.push(text)
      pieceLength += text.length
      return pieceLength + (data?.length ?? 0) > maxPending ? new EventTooLarge() : undefined
    }
    if (pieces.length > 0) {
      pieces.push(text)
      text = pieces.join("")
      pieces = []
      pieceLength = 0
    }
    let position = 0
    while (true) {
      const next = text.indexOf("\n", position)
      if (next === -1) break
      const end = next > position && text.charCodeAt(next - 1) === CR ? next - 1 : next
      if (end === position) {
        if (data !== undefined) {
          const whole = data
          data = undefined
          onData(whole)
        }
      } else {
        line(text, position, end)
      }
      position = next + 1
    }
    if (position < text.length) {
      const rest = text.slice(position)
      pieces.push(rest)
      pieceLength = rest.length
    }
    return pieceLength + (data?.length ?? 0) > maxPending ? new EventTooLarge() : undefined
  }

  const end: SseReader["end"] = (onData) => {
    const rest = pieces.join("")
    if (rest !== "") line(rest, 0, rest.charCodeAt(rest.length - 1) === CR ? rest.length - 1 : rest.length)
    if (data !== undefined) onData(data)
    pieces = []
    pieceLength = 0
    data = undefined
  }

  return { feed, end }
}
