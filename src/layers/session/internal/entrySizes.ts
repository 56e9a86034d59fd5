import * as SessionError from "../../../services/SessionError.ts"

/** What drivers read back: the smallest default among them is a message of 16 MiB. */
const maxEntryBytes = 15 * 1024 * 1024

const maxCommitBytes = 256 * 1024 * 1024

const maxEntries = 500_000

/** Texts of so many characters cannot have more bytes than are allowed, so that nothing need be counted. */
const certainly = (characters: number, maximum: number) => characters * 3 <= maximum

/**
 * What is too large about a commit for a store behind a socket, or undefined.
 *
 * @internal
 */
export const tooLarge = (entries: ReadonlyArray<string>): SessionError.LimitExceeded | undefined => {
  const exceeded = (limit: string, maximum: number, actual: number) =>
    actual > maximum ? new SessionError.LimitExceeded({ limit, maximum, actual }) : undefined
  let characters = 0
  for (const entry of entries) {
    characters += entry.length
    if (certainly(entry.length, maxEntryBytes)) continue
    const found = exceeded("Bytes in an item", maxEntryBytes, Buffer.byteLength(entry))
    if (found !== undefined) return found
  }
  return exceeded("Items in a commit", maxEntries, entries.length) ??
    (certainly(characters, maxCommitBytes)
      ? undefined
      : exceeded(
        "Bytes in a commit",
        maxCommitBytes,
        entries.reduce((sum, entry) => sum + Buffer.byteLength(entry), 0)
      ))
}
