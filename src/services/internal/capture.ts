/** The first and the last bytes of a stream whose middle may be left out. Holds at most `maximum` bytes. */
export interface Capture {
  readonly push: (chunk: Uint8Array) => void
  readonly text: () => { readonly text: string; readonly isTruncated: boolean }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** Without the character at the end that the cut has halved. */
const wholeEnd = (bytes: Uint8Array): Uint8Array => {
  let start = bytes.length
  while (start > 0 && bytes.length - start < 3 && isContinuation(bytes[start - 1])) start--
  const lead = bytes[start - 1]
  if (lead === undefined || lead < 0xc0) return bytes
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2
  return bytes.length - start + 1 < length ? bytes.subarray(0, start - 1) : bytes
}

/** Without the character at the start that the cut has halved. */
const wholeStart = (bytes: Uint8Array): Uint8Array => {
  let start = 0
  while (start < 3 && isContinuation(bytes[start])) start++
  return bytes.subarray(start)
}

/** @internal */
export const make = (maximum: number): Capture => {
  const headMaximum = Math.ceil(maximum / 2)
  const tailMaximum = Math.floor(maximum / 2)
  const head: Array<Uint8Array> = []
  let headLength = 0
  // A ring, made when the head is full: most outputs need none.
  let ring: Uint8Array | undefined
  let tailTotal = 0

  const pushTail = (chunk: Uint8Array): void => {
    const start = tailTotal
    tailTotal += chunk.length
    if (tailMaximum === 0) return
    ring ??= new Uint8Array(tailMaximum)
    const kept = chunk.length > tailMaximum ? chunk.subarray(chunk.length - tailMaximum) : chunk
    const at = (start + chunk.length - kept.length) % tailMaximum
    const untilEnd = Math.min(kept.length, tailMaximum - at)
    ring.set(kept.subarray(0, untilEnd), at)
    ring.set(kept.subarray(untilEnd), 0)
  }

  const tail = (): Uint8Array => {
    if (ring === undefined) return new Uint8Array(0)
    if (tailTotal <= tailMaximum) return ring.subarray(0, tailTotal)
    const at = tailTotal % tailMaximum
    const bytes = new Uint8Array(tailMaximum)
    bytes.set(ring.subarray(at), 0)
    bytes.set(ring.subarray(0, at), tailMaximum - at)
    return bytes
  }

  const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      bytes.set(part, at)
      at += part.length
    }
    return bytes
  }

  return {
    push: (chunk) => {
      const room = headMaximum - headLength
      if (room >= chunk.length) {
        if (chunk.length > 0) head.push(chunk)
        headLength += chunk.length
        return
      }
      if (room > 0) {
        head.push(chunk.slice(0, room))
        headLength += room
      }
      pushTail(chunk.subarray(room))
    },
    text: () => {
      if (tailTotal <= tailMaximum) return { text: decoder.decode(join([...head, tail()])), isTruncated: false }
      const first = wholeEnd(join(head))
      const last = wholeStart(tail())
      const leftOut = headLength + tailTotal - first.length - last.length
      return {
        text: `${decoder.decode(first)}\n[… ${leftOut} bytes left out …]\n${decoder.decode(last)}`,
        isTruncated: true
      }
    }
  }
}
