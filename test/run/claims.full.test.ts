import { assert, describe, it } from "@effect/vitest"
import { History, Item } from "agent-layers"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { untilSo } from "../support/until.ts"
import type { Boundary } from "./fixtures/claimed.ts"
import { askIn, boundaries, goOnIn, handled, loaded, resumeIn } from "./fixtures/claimed.ts"

const program = fileURLToPath(new URL("./fixtures/claiming.ts", import.meta.url))

const inFolder = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "agent-layers-claims-"))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const start = (args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, ["--conditions=agent-layers:source", "--no-warnings", program, ...args], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  let out = ""
  let isReady = () => {}
  const ready = new Promise<void>((resolve) => isReady = resolve)
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    out += chunk
    if (out.startsWith("ready\n")) isReady()
  })
  const ended = new Promise<{ readonly status: string | number | null; readonly out: string }>((resolve) =>
    child.on("close", (code, signal) => resolve({ status: signal ?? code, out: out.replace("ready\n", "").trim() }))
  )
  return { child, ready, ended }
}

const isAfter = (boundary: Boundary, other: Boundary) => boundaries.indexOf(boundary) >= boundaries.indexOf(other)

describe("a process that is killed in a resumed run", () => {
  for (const boundary of boundaries) {
    const isTaken = isAfter(boundary, "claimed")
    const ran = isAfter(boundary, "handling-2") ? ["pay 1", "pay 2"] : isAfter(boundary, "handling-1") ? ["pay 1"] : []
    const version = isAfter(boundary, "committed-2") ? 2 : isAfter(boundary, "committed-1") ? 1 : 0
    const stored = [0, 5, 6][version]!

    it(`at ${boundary}: ${isTaken ? "the state is taken, and no handler runs again" : "the state is free"}`, () =>
      inFolder(async (folder) => {
        assert.strictEqual(await askIn(folder), "ApprovalRequired")
        const killed = start([folder, boundary])
        assert.deepStrictEqual(await killed.ended, { status: "SIGKILL", out: "" })
        assert.deepStrictEqual(handled(folder), ran)
        const before = await loaded(folder)
        assert.strictEqual(before.conversation.version, version)
        assert.strictEqual(before.conversation.items.length, stored)
        assert.deepStrictEqual(History.check(before.conversation.items), [])
        if (isTaken) {
          for (const onMoved of ["fail", "append", "fail"] as const) {
            assert.strictEqual(await resumeIn(folder, { onMoved }), "ConversationMoved", onMoved)
          }
          assert.deepStrictEqual(await loaded(folder), before)
          assert.deepStrictEqual(handled(folder), ran)
        } else {
          assert.strictEqual(await resumeIn(folder), "done")
          assert.strictEqual(await resumeIn(folder), "ConversationMoved")
          assert.deepStrictEqual(handled(folder), ["pay 1", "pay 2"])
        }
        assert.strictEqual(await goOnIn(folder), "went on")
        const { items } = (await loaded(folder)).conversation
        assert.deepStrictEqual(History.check(items), [])
        assert.deepStrictEqual(
          items.filter(Item.isMessage).map((item) => Item.text(item)),
          [...["pay", "done"].slice(0, isTaken ? version : 2), "go on", "went on"]
        )
        const after = handled(folder)
        for (const onMoved of ["fail", "append"] as const) {
          assert.strictEqual(await resumeIn(folder, { onMoved }), "ConversationMoved", onMoved)
        }
        assert.deepStrictEqual(handled(folder), after)
      }))
  }
})

describe("ten processes that resume one state at the same time", () => {
  it("are one that runs its handlers and nine that are refused", () =>
    inFolder(async (folder) => {
      assert.strictEqual(await askIn(folder), "ApprovalRequired")
      writeFileSync(join(folder, "slow"), "")
      const children = Array.from({ length: 10 }, () => start([folder]))
      await Promise.all(children.map(({ ended, ready }) => Promise.race([ready, ended])))
      for (const { child } of children) child.stdin.end("go\n")
      const ends = await Promise.all(children.map(({ ended }) => ended))
      assert.deepStrictEqual(
        ends.map(({ out, status }) => `${status} ${out}`).sort(),
        [...Array.from({ length: 9 }, () => "0 ConversationMoved"), "0 done"]
      )
      assert.deepStrictEqual(handled(folder), ["pay 1", "pay 2"])
      const { conversation, ids } = await loaded(folder)
      assert.deepStrictEqual(History.check(conversation.items), [])
      assert.strictEqual(conversation.version, 2)
      assert.strictEqual(conversation.items.length, 6)
      assert.deepStrictEqual(ids, ["c"])
    }), 120_000)
})

describe("a run that commits while the handlers of a resumed one are at work", () => {
  it("wins: the resumed one stores nothing, and its state stays taken", () =>
    inFolder(async (folder) => {
      assert.strictEqual(await askIn(folder), "ApprovalRequired")
      const resumed = start([folder])
      await resumed.ready
      writeFileSync(join(folder, "slow"), "")
      resumed.child.stdin.end("go\n")
      await untilSo(() => handled(folder).length, (count) => count > 0)
      assert.strictEqual(await goOnIn(folder), "went on")
      assert.deepStrictEqual(await resumed.ended, { status: 0, out: "VersionConflict" })
      for (const onMoved of ["fail", "append"] as const) {
        assert.strictEqual(await resumeIn(folder, { onMoved }), "ConversationMoved", onMoved)
      }
      assert.deepStrictEqual(handled(folder), ["pay 1", "pay 2"])
      const { conversation, ids } = await loaded(folder)
      assert.deepStrictEqual(conversation.items.filter(Item.isMessage).map((item) => Item.text(item)), [
        "go on",
        "went on"
      ])
      assert.deepStrictEqual(History.check(conversation.items), [])
      assert.deepStrictEqual(ids, ["c"])
    }))
})
