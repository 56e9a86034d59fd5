/** How often a test repeats in this run, and what came of it. The numbers are those of `campaigns.ts`. */
import { Effect, Exit, Random } from "effect"
import type { TestContext } from "vitest"
import { campaigns, type Name } from "./campaigns.ts"

declare module "vitest" {
  interface TaskMeta {
    /** What a test counted, for `npm run campaign` to print. */
    figures?: Readonly<Record<string, number>>
  }
}

const size = process.env["AGENT_LAYERS_ROUNDS"] ?? "few"

const wholeNumber = (name: string, text: string): number => {
  if (/^\d+$/.test(text)) return Number(text)
  throw new Error(`${name} is "${text}"; npm run campaign -- NAME --rounds N --seed N sets it to a whole number`)
}

/** The seed of the first round. */
export const firstSeed: number = wholeNumber("AGENT_LAYERS_SEED", process.env["AGENT_LAYERS_SEED"] ?? "0")

/** The number of rounds for this run. */
export const rounds = (name: Name): number => {
  const { few, many } = campaigns[name]
  return size === "few" ? few ?? many : size === "many" ? many : wholeNumber("AGENT_LAYERS_ROUNDS", size)
}

/** The time limit in milliseconds of a test that repeats: generous, and none to speak of in a campaign. */
export const timeLimit: number = size === "few" ? 120_000 : size === "many" ? 600_000 : 24 * 3_600_000

/** Notes what a test counted. */
export const noteFigures = (test: TestContext, figures: Readonly<Record<string, number>>): void => {
  test.task.meta.figures = { ...test.task.meta.figures, ...figures }
}

/** Stops a campaign in which nothing works. */
const maxFailures = 10

/**
 * Runs the body once for each seed. Its `Random` is seeded, so a failure can be repeated; the message names the seed.
 * A failed round does not end the others.
 */
export const forEachSeed = <E, R>(
  test: TestContext,
  name: Name,
  body: (seed: number) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> =>
  Effect.gen(function*() {
    const failedSeeds: Array<number> = []
    let ran = 0
    let first: Exit.Exit<void, E> = Exit.void
    while (ran < rounds(name) && failedSeeds.length < maxFailures) {
      const seed = firstSeed + ran++
      const exit = yield* Effect.exit(Random.withSeed(body(seed), seed))
      if (Exit.isFailure(exit)) {
        if (failedSeeds.length === 0) first = exit
        failedSeeds.push(seed)
      }
    }
    noteFigures(test, { ran, failed: failedSeeds.length })
    if (failedSeeds.length > 0) {
      yield* Effect.logError(
        `${test.task.name}: failed with the seeds ${failedSeeds.join(", ")}. ` +
          `To repeat one: npm run campaign -- ${name} --rounds 1 --seed ${failedSeeds[0]}`
      )
    }
    yield* first
  })
