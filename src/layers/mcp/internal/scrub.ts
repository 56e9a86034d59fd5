import * as Redacted from "effect/Redacted"

/** Takes secrets out of a text. What is shorter is no secret but a word that would tear holes into every message. */
export const scrubber = (values: Iterable<string | Redacted.Redacted>): (text: string) => string => {
  const secrets = [...values].flatMap((value) => {
    if (!Redacted.isRedacted(value)) return []
    const secret = Redacted.value(value)
    return typeof secret === "string" && secret.length >= 8 ? [secret] : []
  })
  return (text) => secrets.reduce((text, secret) => text.replaceAll(secret, "<redacted>"), text)
}
