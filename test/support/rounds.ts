/**
 * How often a test with random input or random moments repeats, decided here for all of them: few times in `npm test`,
 * many times in `npm run test:full`, and as often as the caller says in `npm run campaign`. The vitest configuration
 * sets both variables.
 */
import { Effect, Exit, Random } from "effect"
import type { TestContext } from "vitest"

/** What a test repeated, for the figures of `npm run campaign`. */
export interface Figures {
  readonly rounds: number
  readonly failedSeeds: ReadonlyArray<number>
}

declare module "vitest" {
  interface TaskMeta {
    figures?: Figures
  }
}

const size = process.env["AGENT_LAYERS_ROUNDS"] ?? "few"

/** The seed of the first round. */
export const firstSeed: number = Number(process.env["AGENT_LAYERS_SEED"] ?? 0)

/** The number of rounds for this run. With one number it is the same in `npm test` and `npm run test:full`. */
export const rounds = (few: number, many: number = few): number =>
  size === "few" ? few : size === "many" ? many : Number(size)

/** The time limit in milliseconds of a test that repeats: generous, and none to speak of in a campaign. */
export const timeLimit: number = size === "few" ? 120_000 : size === "many" ? 600_000 : 24 * 3_600_000

/** Stops a campaign in which nothing works. */
const maxFailures = 10

/**
 * Runs the body once for each seed. Its `Random` is seeded, so a failure can be repeated; the message names the seed.
 * A failed round does not end the others.
 */
export const forEachSeed = <E, R>(
  test: TestContext,
  count: number,
  body: (seed: number) => Effect.Effect<void, E, R>
): Effect.Effect<void, E, R> =>
  Effect.gen(function*() {
    const failedSeeds: Array<number> = []
    let ran = 0
    let first: Exit.Exit<void, E> = Exit.void
    while (ran < count && failedSeeds.length < maxFailures) {
      const seed = firstSeed + ran++
      const exit = yield* Effect.exit(Random.withSeed(body(seed), seed))
      if (Exit.isFailure(exit)) {
        if (failedSeeds.length === 0) first = exit
        failedSeeds.push(seed)
      }
    }
    countRounds(test, ran, failedSeeds)
    if (failedSeeds.length > 0) {
      yield* Effect.logError(
        `${test.task.name}: failed with the seeds ${failedSeeds.join(", ")}. ` +
          `To repeat one: AGENT_LAYERS_SEED=${failedSeeds[0]} npm test -- ${test.task.file.filepath}`
      )
    }
    yield* first
  })

/** Notes the rounds of a test that repeats without `forEachSeed`. */
export const countRounds = (test: TestContext, count: number, failedSeeds: ReadonlyArray<number> = []): void => {
  test.task.meta.figures = { rounds: count, failedSeeds }
}
