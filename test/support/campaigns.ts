/**
 * The tests that repeat, with random input or at random moments, and how often they do: decided here for all of them.
 * `npm run campaign` lists them and runs one, the vitest configuration reads which files have more rounds in
 * `npm run test:full`. Plain data, so that both can read it without vitest.
 */

export interface Campaign {
  /** From the root of the project. */
  readonly file: string
  /** The tests of that file: a regular expression for their names, which begin with those of their suites: `suite > test`. */
  readonly tests: string
  /** What repeats, and what must hold. */
  readonly says: string
  /** Rounds in `npm test`. Absent where only `npm run test:full` has the file. */
  readonly few?: number
  /** Rounds in `npm run test:full`. */
  readonly many: number
  /** Rounds in `npm run campaign`, unless it is told another number. */
  readonly campaign: number
  /** How long the rounds of a campaign take, in minutes on two cores. */
  readonly minutes: number
}

const all = {
  history: {
    file: "test/services/History.test.ts",
    tests: "^History > (repair (gives|keeps messages)|a valid history can be cut|every other cut|latest is valid)",
    says: "random histories: repair, cuts and the latest part are valid, and lose no more than they must",
    few: 400,
    many: 20_000,
    campaign: 500_000,
    minutes: 4
  },
  fingerprints: {
    file: "test/services/Session.test.ts",
    tests: "has another fingerprint for other content$",
    says: "commits that differ in one number: no two have one fingerprint",
    few: 3_000,
    many: 100_000,
    campaign: 500_000,
    minutes: 1
  },
  filters: {
    file: "test/run/InputFilter.test.ts",
    tests: "^every filter > ",
    says: "random histories through each input filter: what is left is valid",
    few: 300,
    many: 10_000,
    campaign: 500_000,
    minutes: 3
  },
  requests: {
    file: "test/run/filters.test.ts",
    tests: "^after a filter > OpenAI takes the request, whatever",
    says: "random filters between a run and the API: it takes each request",
    few: 25,
    many: 400,
    campaign: 5_000,
    minutes: 5
  },
  conversations: {
    file: "test/run/properties.test.ts",
    tests: "^random conversations > ",
    says: "random runs, approvals and interruptions: stored valid, no handler ran twice, one end",
    few: 150,
    many: 5_000,
    campaign: 100_000,
    minutes: 6
  },
  crash: {
    file: "test/run/crash.full.test.ts",
    tests: "^kill -9 during a run > at any moment ",
    says: "a program that is killed at any moment of its runs: whole turns are stored, each that was reported",
    many: 60,
    campaign: 500,
    minutes: 7
  },
  compaction: {
    file: "test/layers/session/SessionCompacted.test.ts",
    tests: "cuts only where both sides are valid, whatever the history$",
    says: "random histories: compaction cuts where both sides are valid, and loses nothing",
    few: 60,
    many: 1_000,
    campaign: 200_000,
    minutes: 5
  },
  "cache-writers": {
    file: "test/layers/session/SessionCached.test.ts",
    tests: "shows what two other sessions write behind its back, as soon as they have written$",
    says: "two writers behind a cache: it shows what they have written",
    few: 60,
    many: 600,
    campaign: 200_000,
    minutes: 2
  },
  "cache-bounds": {
    file: "test/layers/session/SessionCached.test.ts",
    tests: "^SessionCached is bounded > whatever is done with it$",
    says: "random steps on a bounded cache: never over its bounds, never a wrong value",
    few: 20_000,
    many: 500_000,
    campaign: 10_000_000,
    minutes: 4
  },
  fallback: {
    file: "test/layers/session/SessionFallback.test.ts",
    tests: "whatever happens, in whatever order: ",
    says: "random outages of stores and backups: one version has the same items everywhere, no backup is ahead",
    few: 25,
    many: 500,
    campaign: 40_000,
    minutes: 6
  },
  s3: {
    file: "test/layers/session/SessionS3.full.test.ts",
    tests: "^SessionS3 beside SessionMemory > ",
    says: "random faults of a store of objects: the same answers as a session in memory",
    many: 40,
    campaign: 300,
    minutes: 7
  },
  "redis-processes": {
    file: "test/layers/session/SessionRedis.test.ts",
    tests: "several processes lose nothing$",
    says: "processes that write at once to Redis, a round is a commit of each: none is lost",
    few: 30,
    many: 300,
    campaign: 10_000,
    minutes: 1
  },
  "redis-kills": {
    file: "test/layers/session/SessionRedis.test.ts",
    tests: "a server that is killed again and again: ",
    says: "a Redis that is killed again and again: each commit is stored once and whole",
    few: 4,
    many: 80,
    campaign: 1_000,
    minutes: 4
  },
  "postgres-processes": {
    file: "test/layers/session/SessionPostgres.faults.full.test.ts",
    tests: "several processes lose nothing$",
    says: "processes that write at once to PostgreSQL, a round is a commit of each: none is lost",
    many: 200,
    campaign: 5_000,
    minutes: 1
  },
  "postgres-kills": {
    file: "test/layers/session/SessionPostgres.faults.full.test.ts",
    tests: "backends that are killed again and again: ",
    says: "connections and servers of PostgreSQL that are killed again and again: each commit is stored once and whole",
    many: 200,
    campaign: 2_000,
    minutes: 5
  },
  "sqlite-processes": {
    file: "test/layers/session/SessionSqlite.processes.full.test.ts",
    tests: "several processes that open a fresh database and write at once lose nothing$",
    says: "processes that write at once to one file, a round is a commit of each: none is lost",
    many: 150,
    campaign: 20_000,
    minutes: 1
  },
  "sqlite-kills": {
    file: "test/layers/session/SessionSqlite.processes.full.test.ts",
    tests: "a writer that is killed leaves whole commits, ",
    says: "a writer that is killed again and again: its file is sound and has each commit that was answered",
    many: 60,
    campaign: 300,
    minutes: 4
  },
  "sandbox-links": {
    file: "test/layers/sandbox/confinement.full.test.ts",
    tests: "^files of a sandbox, while a command swaps links > are never those of the host$",
    says: "a command that swaps folders for links: no file of the host is read, written or removed",
    many: 1_000,
    campaign: 20_000,
    minutes: 6
  },
  "sandbox-removal": {
    file: "test/layers/sandbox/confinement.full.test.ts",
    tests: "^files of a sandbox, while a command swaps links > are removed without ",
    says: "folders that are removed while a command swaps them for links: nothing of the host goes with them",
    many: 60,
    campaign: 200,
    minutes: 7
  }
} satisfies Record<string, Campaign>

export type Name = keyof typeof all

export const campaigns: { readonly [K in Name]: Campaign } = all
