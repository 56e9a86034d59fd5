/** How long backends remember the operations of a conversation, as `SaveOptions.operationId` promises. */

/** The latest so many, by conversation. */
export const maxOperations = 1_000

const maxAge = 7 * 24 * 60 * 60 * 1_000

/** What was saved before this instant may be forgotten. Milliseconds since 1970. */
export const expiredBefore = (now: number): number => now - maxAge
