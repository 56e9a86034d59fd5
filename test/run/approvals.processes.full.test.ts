/** Approvals that are asked for in one process and given in another. */
import { assert, describe, it } from "@effect/vitest"
import { Item } from "agent-layers"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { checkStored, inFolder, ways } from "./support.ts"

const program = fileURLToPath(new URL("./fixtures/approving.ts", import.meta.url))

const child = (args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number | null; readonly out: string }>((resolve) => {
    const started = spawn(process.execPath, ["--conditions=agent-layers:source", "--no-warnings", program, ...args], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    let out = ""
    started.stdout.setEncoding("utf8").on("data", (chunk: string) => out += chunk)
    started.on("close", (code) => resolve({ code, out: out.trim() }))
  })

describe("approvals over an SQLite file", () => {
  for (const way of ways) {
    it(`${way}: approved, written down, resumed by a new process, and one more turn`, () =>
      inFolder(async (folder) => {
        const first = await child([folder, way, "ask"])
        assert.deepStrictEqual(first, { code: 0, out: "ApprovalRequired p1" })
        const second = await child([folder, way, "approve"])
        assert.deepStrictEqual(second, { code: 0, out: "done" })
        const third = await child([folder, way, "chat"])
        assert.deepStrictEqual(third, { code: 0, out: "chatted" })
        assert.deepStrictEqual(readFileSync(join(folder, "ran"), "utf8").trim().split("\n"), ["look x", "pay 5"])
        await Effect.runPromise(
          checkStored("c").pipe(
            Effect.map((items) => assert.strictEqual(items.filter(Item.isFunctionCall).length, 2)),
            Effect.provide(SessionSqlite.layer({ filename: join(folder, "chat.db") })),
            Effect.orDie
          ) as Effect.Effect<void>
        )
      }))
  }

  it("resumed by two processes at the same time runs the handler once", () =>
    inFolder(async (folder) => {
      await child([folder, "run", "ask"])
      writeFileSync(join(folder, "slow"), "")
      const both = await Promise.all([child([folder, "run", "approve"]), child([folder, "stream", "approve"])])
      assert.deepStrictEqual(both.map(({ out }) => out).sort(), ["ConversationMoved", "done"])
      assert.deepStrictEqual(readFileSync(join(folder, "ran"), "utf8").trim().split("\n"), ["look x", "pay 5"])
    }))
})
