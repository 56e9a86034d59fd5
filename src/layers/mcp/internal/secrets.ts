import * as Redacted from "effect/Redacted"

/** What must not stand in any message. */
export interface Secrets {
  readonly scrub: (text: string) => string
  readonly add: (value: Redacted.Redacted) => void
}

/** What is shorter is no secret but a word that would tear holes into every message. */
const minLength = 8

/** Those that were added later, which are replaced by others from time to time. */
const maxAdded = 16

export const make = (values: Iterable<string | Redacted.Redacted>): Secrets => {
  const given: Array<string> = []
  const added = new Set<string>()
  for (const value of values) {
    if (!Redacted.isRedacted(value)) continue
    const secret = Redacted.value(value)
    if (typeof secret === "string" && secret.length >= minLength) given.push(secret)
  }
  return {
    scrub: (text) => [...given, ...added].reduce((text, secret) => text.replaceAll(secret, "<redacted>"), text),
    add: (value) => {
      const secret = Redacted.value(value)
      if (secret.length < minLength || added.has(secret)) return
      added.add(secret)
      if (added.size > maxAdded) added.delete([...added][0]!)
    }
  }
}
