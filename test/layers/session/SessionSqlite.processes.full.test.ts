/** SessionSqlite among processes: writers at once, locks, kill -9. */
import { assert, describe, it } from "@effect/vitest"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { type Item, text, user } from "agent-layers/services/Item"
import type { SessionError } from "agent-layers/services/SessionError"
import { Effect, Fiber } from "effect"
import * as path from "node:path"
import { noteFigures, rounds, timeLimit } from "../../support/rounds.ts"
import { runProgram } from "../../support/session/child.ts"
import { openRaw, temporaryFolder } from "../../support/session/subjects.ts"
import { allowTimeFor, stays } from "../../support/until.ts"
import { type Answer, commitOf, type WriterOptions } from "./fixtures/writer.ts"

const writer = (options: WriterOptions) =>
  runProgram(new URL("./fixtures/writer.ts", import.meta.url), [JSON.stringify(options)])

const lock = (filename: string) =>
  Effect.tap(
    runProgram(new URL("./fixtures/locker.ts", import.meta.url), [filename]),
    (child) => child.read(1)
  )

const answersOf = (lines: ReadonlyArray<string>): ReadonlyArray<Answer> =>
  lines.slice(1).map((line) => JSON.parse(line) as Answer)

const file = Effect.map(temporaryFolder, (folder) => path.join(folder, "sessions.db"))

/** Every commit of `size` items is whole and in one piece; gives `name/turn` of each. */
const commitsOf = (items: ReadonlyArray<Item>, size: number): ReadonlyArray<string> => {
  const names = items.map((item) => text(item).split(" ")[0]!)
  assert.strictEqual(names.length % size, 0)
  const commits: Array<string> = []
  for (let index = 0; index < names.length; index += size) {
    const commit = names[index]!.replace(/\.0$/, "")
    assert.deepStrictEqual(
      names.slice(index, index + size),
      Array.from({ length: size }, (_, position) => `${commit}.${position}`)
    )
    commits.push(commit)
  }
  return commits
}

const sound = (filename: string) =>
  Effect.scoped(Effect.map(openRaw(filename), (db) => {
    assert.deepStrictEqual({ ...db.prepare("PRAGMA integrity_check").get() }, { integrity_check: "ok" })
  }))

describe("SessionSqlite among processes", () => {
  it.live("several processes that open a fresh database and write at once lose nothing", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const commits = rounds("sqlite-processes")
      const names = ["a", "b", "c", "d"]
      const children = yield* Effect.forEach(names, (name) =>
        writer({ filename, conversation: "shared", name, from: 0, commits, size: 3 }))
      yield* Effect.forEach(children, (child) =>
        child.read(1))
      for (const child of children) child.process.stdin.write("go\n")
      const codes = yield* Effect.forEach(children, (child) => child.ended, { concurrency: "unbounded" })
      assert.deepStrictEqual(codes, [0, 0, 0, 0])

      const session = yield* SessionSqlite.make({ filename })
      const { items, version } = yield* session.loadItems("shared")
      assert.strictEqual(version, names.length * commits)
      const stored = commitsOf(items, 3)
      for (const name of names) {
        assert.deepStrictEqual(
          stored.filter((commit) => commit.startsWith(`${name}/`)),
          Array.from({ length: commits }, (_, turn) => `${name}/${turn}`)
        )
      }
      // Each process was told the place that its commits have.
      children.forEach((child, index) => {
        for (const { turn, version } of answersOf(child.lines)) {
          assert.strictEqual(stored[version - 1], `${names[index]}/${turn}`)
        }
      })
      const db = yield* openRaw(filename)
      assert.deepStrictEqual(
        db.prepare("SELECT component, version FROM agent_layers_migrations").all().map((row) => ({ ...row })),
        [{ component: "session", version: 1 }]
      )
      yield* sound(filename)
    }), timeLimit)

  it.live(
    "the event loop goes on while another process holds the lock, and the commit follows",
    () =>
      Effect.gen(function*() {
        const filename = yield* file
        const session = yield* SessionSqlite.make({ filename })
        yield* session.saveItems("a", [user("before")])
        const locker = yield* lock(filename)
        const saving = yield* Effect.forkChild(session.saveItems("a", [user("after")]), { startImmediately: true })
        // A driver that waits for the lock itself would never come to the end of this: the lock goes after it.
        for (let read = 0; read < 20; read++) {
          yield* stays(() => saving.pollUnsafe(), (exit) => exit === undefined, 10)
          // Who reads need not wait.
          assert.strictEqual((yield* session.loadItems("a", { maxItems: 0 })).version, 1)
        }
        locker.process.stdin.end()
        yield* Fiber.join(saving)
        assert.strictEqual(yield* locker.ended, 0)
        assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["before", "after"])
      }),
    240_000
  )

  it.live("a lock that is not given up in time is Unavailable, and nothing was stored", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const session = yield* SessionSqlite.make({ filename, commitTimeout: "1 second" })
      yield* session.saveItems("a", [user("before")])
      const locker = yield* lock(filename)
      const writes: ReadonlyArray<Effect.Effect<unknown, SessionError>> = [
        session.saveItems("a", [user("after")]),
        session.popItem("a"),
        session.clear("a"),
        session.rewrite("a", { through: 1, items: [] })
      ]
      for (const write of writes) {
        const { reason } = yield* Effect.flip(write)
        if (reason._tag !== "Unavailable") return assert.fail(reason._tag)
        assert.isFalse(reason.isOutcomeUnknown)
        assert.include(reason.message, "locked by another process for 1s")
      }
      locker.process.kill("SIGKILL")
      yield* locker.ended
      // The lock went with the process that held it.
      assert.deepStrictEqual(yield* session.saveItems("a", [user("after")]), { version: 2 })
      assert.deepStrictEqual((yield* session.loadItems("a")).items.map(text), ["before", "after"])
    }), 240_000)

  it.live(
    "a writer that is killed leaves whole commits, each one that was answered, and a retry stores once",
    (test) =>
      Effect.gen(function*() {
        const filename = yield* file
        const size = 4
        let next = 0
        for (let round = 0; round < rounds("sqlite-kills"); round++) {
          const child = yield* writer({ filename, conversation: "a", name: "w", from: next, commits: 100_000, size })
          yield* child.read(1)
          child.process.stdin.write("go\n")
          yield* child.read(2 + (round * 7) % 40)
          yield* allowTimeFor("a commit to begin", (round * 13) % 29)
          child.process.kill("SIGKILL")
          assert.strictEqual(yield* child.ended, "SIGKILL")
          const answers = answersOf(child.lines)

          yield* sound(filename)
          const last = yield* Effect.scoped(Effect.gen(function*() {
            const session = yield* SessionSqlite.make({ filename })
            const before = yield* session.loadItems("a")
            const stored = commitsOf(before.items, size)
            assert.deepStrictEqual(stored, Array.from({ length: before.version }, (_, turn) => `w/${turn}`))
            // One commit may have been stored whose answer was lost.
            const answered = answers.at(-1)!.turn + 1
            assert.oneOf(before.version, [answered, answered + 1])

            // The client does not know whether the last one happened, and repeats it.
            const repeat = (turn: number) =>
              session.saveItems("a", commitOf("w", turn, size), { operationId: `w/${turn}` })
            assert.deepStrictEqual(yield* repeat(answered), { version: answered + 1 })
            assert.deepStrictEqual(yield* repeat(answered), { version: answered + 1 })
            assert.deepStrictEqual(yield* repeat(answered - 1), { version: answered })
            const after = yield* session.loadItems("a")
            assert.strictEqual(after.version, answered + 1)
            assert.deepStrictEqual(commitsOf(after.items, size).at(-1), `w/${answered}`)
            return answered
          }))
          next = last + 1
        }
        noteFigures(test, { commits: next })
      }),
    timeLimit
  )
})
