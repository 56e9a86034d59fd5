/**
 * A campaign (random histories, crashes, many repetitions) has a short form for `npm test` and a long one for
 * `npm run test:full`, which sets AGENT_LAYERS_FULL=1.
 */
export const isFull: boolean = process.env["AGENT_LAYERS_FULL"] === "1"

/** The value for this run: how many cases, repetitions, milliseconds. */
export const campaign = <A, B>(short: A, full: B): A | B => isFull ? full : short
