import { assert, describe, it } from "@effect/vitest"
import { History, Item, Session } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Effect, Stream } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { rounds, timeLimit } from "../support/rounds.ts"
import { allowTimeFor } from "../support/until.ts"

const program = fileURLToPath(new URL("./fixtures/crashing.ts", import.meta.url))

const inFolder = async <A>(body: (filename: string) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "agent-layers-crash-"))
  try {
    return await body(join(folder, "chat.db"))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const start = (args: ReadonlyArray<string>) =>
  spawn(process.execPath, ["--conditions=agent-layers:source", "--no-warnings", program, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })

const run = (args: ReadonlyArray<string>) =>
  new Promise<string | number | null>((resolve) => start(args).on("exit", (code, signal) => resolve(signal ?? code)))

const withSession = <A>(filename: string, use: (session: Session.Session["Service"]) => Effect.Effect<A, unknown>) =>
  Effect.runPromise(
    Session.Session.use(use).pipe(Effect.provide(SessionSqlite.layer({ filename })), Effect.orDie)
  )

/** What each turn of the run leaves: whole pairs, the input with the first. */
const turns: ReadonlyArray<number> = [3, 2, 1]

const sizeAfter = (version: number) => turns.slice(0, version).reduce((sum, size) => sum + size, 0)

const checkWhole = (items: ReadonlyArray<Item.Item>, version: number) => {
  assert.deepStrictEqual(History.check(items), [])
  assert.strictEqual(items.length, sizeAfter(version))
}

describe("kill -9 during a run", () => {
  const boundaries: ReadonlyArray<readonly [boundary: string, versionLeft: number]> = [
    ["model-1", 0],
    ["tool-1", 0],
    ["before-save-1", 0],
    ["after-save-1", 1],
    ["model-2", 1],
    ["tool-2", 1],
    ["before-save-2", 1],
    ["after-save-2", 2],
    ["model-3", 2],
    ["before-save-3", 2],
    ["after-save-3", 3]
  ]

  for (const [boundary, versionLeft] of boundaries) {
    it(`at ${boundary} leaves whole turns only, and a retry under the same id stores nothing twice`, () =>
      inFolder(async (filename) => {
        assert.strictEqual(await run([filename, boundary]), "SIGKILL")
        await withSession(filename, (session) =>
          Effect.gen(function*() {
            const { items, version } = yield* session.loadItems("c")
            assert.strictEqual(version, versionLeft)
            checkWhole(items, version)
            if (version === 0) return
            const last = items.slice(sizeAfter(version - 1))
            const again = yield* session.saveItems("c", last, {
              operationId: `run_1/${version}`,
              expectedVersion: version - 1
            })
            assert.strictEqual(again.version, version)
            assert.deepStrictEqual((yield* session.loadItems("c")).items, items)
          }))
        if (!boundary.startsWith("after-save")) return
        // The conversation is not stuck: a run that nobody kills goes on with it.
        assert.strictEqual(await run([filename, "none"]), 0)
        const { items } = await withSession(filename, (session) => session.loadItems("c"))
        assert.deepStrictEqual(History.check(items), [])
        assert.strictEqual(Item.text(items.at(-1)!), "counted")
      }))
  }

  it("at any moment leaves whole turns only, and every turn that was reported", () =>
    inFolder(async (filename) => {
      const reported = new Map<string, number>()
      for (let round = 0; round < rounds("crash"); round++) {
        const child = start([filename])
        const known = reported.size
        child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
          for (const [, id, version] of chunk.matchAll(/^(c\d+) (\d+)$/gm)) {
            reported.set(id!, Math.max(reported.get(id!) ?? 0, Number(version)))
          }
        })
        await new Promise((resolve) => child.stdout!.once("data", resolve))
        await Effect.runPromise(allowTimeFor("some turns", 5 + round * 7 % 60))
        child.kill("SIGKILL")
        await new Promise((resolve) => child.on("close", resolve))
        assert.isAtLeast(reported.size, known)
        await withSession(filename, (session) =>
          Effect.gen(function*() {
            const conversations = yield* Stream.runCollect(session.conversations())
            for (const { id } of conversations) {
              const { items, version } = yield* session.loadItems(id)
              assert.deepStrictEqual(History.check(items), [])
              // Later rounds run on the conversations of earlier ones; each run adds its turns whole.
              assert.isAtLeast(version, reported.get(id) ?? 0)
              const cuts = History.safeCuts(items)
              assert.strictEqual(cuts.at(-1), items.length)
            }
            for (const id of reported.keys()) assert.isTrue(conversations.some((found) => found.id === id), id)
            for (const { id } of conversations) yield* session.clear(id)
          }))
        reported.clear()
      }
    }), timeLimit)
})
