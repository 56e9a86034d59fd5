/** What becomes of the workspaces of processes that are killed. */
import { assert, describe, it } from "@effect/vitest"
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import type { SandboxState } from "agent-layers/services/Sandbox"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { requires } from "../../support/requires.ts"
import { start } from "./left.ts"
import { temporary } from "./subject.ts"

const isLinux = process.platform === "linux"
const bubblewrap = requires("bubblewrap")

const startScoped = (backend: string, root: string) => Effect.acquireRelease(start(backend, root), ({ kill }) => kill)

const isThere = ({ location }: SandboxState) => fs.existsSync(location)

const sessions = (root: string) => fs.readdirSync(root).filter((name) => name.startsWith("agent-layers-"))

const backends = { unconfined: SandboxUnconfined, bubblewrap: SandboxBubblewrap } as const

describe.skipIf(!isLinux).each(["unconfined", "bubblewrap"] as const)(
  "workspaces of killed processes: %s",
  (backend) => {
    const { make } = backends[backend]
    const scratch = temporary(`sweep-${backend}`)

    it.live.skipIf(backend === "bubblewrap" && !bubblewrap.available)(
      bubblewrap.title("are removed at the next start, those of live processes and kept ones are not"),
      () =>
        Effect.gen(function*() {
          const root = path.join(scratch, "killed")
          const [killed, alive] = yield* Effect.all([startScoped(backend, root), startScoped(backend, root)], {
            concurrency: 2
          })
          yield* make({ root })
          assert.deepStrictEqual([killed.left, killed.kept, alive.left, alive.kept].map(isThere), [
            true,
            true,
            true,
            true
          ])
          yield* killed.kill
          assert.isTrue(isThere(killed.left))
          // Several at once: each finds what is left, and one removes it.
          const [sandbox] = yield* Effect.all(Array.from({ length: 4 }, () => make({ root })), { concurrency: 4 })
          assert.deepStrictEqual(
            [killed.left, killed.kept, alive.left, alive.kept].map(isThere),
            [false, true, true, true]
          )
          assert.lengthOf(sessions(root), 3)
          const found = yield* sandbox!.resume(killed.kept, undefined, { isKept: false })
          assert.strictEqual(found._tag, "Resumed")
          if (found._tag !== "Resumed") return
          assert.strictEqual(Buffer.from(yield* found.session.readFile("file")).toString(), "kept")
          assert.strictEqual((yield* found.session.exec("cat file; echo more >> file")).stdout, "kept")
          assert.deepStrictEqual(yield* sandbox!.resume(killed.left), { _tag: "Gone" })
          yield* alive.kill
          yield* make({ root })
          assert.deepStrictEqual([alive.left, alive.kept].map(isThere), [false, true])
        })
    )

    it.live.skipIf(backend === "bubblewrap" && !bubblewrap.available)(
      "a kept workspace loses only what its process had beside it",
      () =>
        Effect.gen(function*() {
          const root = path.join(scratch, "resumed")
          const { kept, kill } = yield* startScoped(backend, root)
          yield* kill
          assert.lengthOf(fs.readdirSync(kept.location), 3)
          const sandbox = yield* make({ root })
          assert.deepStrictEqual(fs.readdirSync(kept.location).toSorted(), ["kept", "workspace"])
          yield* Effect.scoped(sandbox.resume(kept))
          yield* make({ root })
          assert.isTrue(isThere(kept))
        })
    )
  }
)

describe.skipIf(!isLinux)("a workspace is left by a process", () => {
  const root = path.join(temporary("sweep-owners"), "root")
  const boot = fs.existsSync("/proc/sys/kernel/random/boot_id")
    ? fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
    : ""
  const pidNamespace = isLinux ? fs.readlinkSync("/proc/self/ns/pid") : ""
  const stat = isLinux ? fs.readFileSync("/proc/self/stat", "latin1") : ""
  const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""

  const lay = (name: string, ...records: ReadonlyArray<string>) => {
    const directory = path.join(root, name)
    fs.mkdirSync(path.join(directory, "workspace"), { recursive: true })
    fs.chmodSync(directory, 0o700)
    records.forEach((record, index) => {
      fs.mkdirSync(path.join(directory, `private-${index}`))
      if (record !== "") fs.writeFileSync(path.join(directory, `private-${index}/owner`), record)
    })
    return directory
  }
  const owner = (pid: number, start: string, inBoot = boot, inNamespace = pidNamespace) =>
    [pid, start, inBoot, inNamespace].join("\n")
  const workspace = (...records: ReadonlyArray<string>) => lay(`agent-layers-${randomUUID()}`, ...records)
  const swept = (directory: string) => Effect.map(SandboxUnconfined.make({ root }), () => !fs.existsSync(directory))

  it.live("whose pid another process has now", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* swept(workspace(owner(process.pid, String(Number(startTime) - 1)))))
    }))

  it.live("of an earlier run of the machine", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* swept(workspace(owner(process.pid, startTime, randomUUID()))))
    }))

  it.live("that was removing it when it was killed", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* swept(lay(`agent-layers-removed-${process.pid}-1-${randomUUID()}`)))
      assert.isFalse(yield* swept(lay(`agent-layers-removed-${process.pid}-${startTime}-${randomUUID()}`)))
    }))

  it.live("only if that is certain", () =>
    Effect.gen(function*() {
      const dead = owner(process.pid, "1")
      const doubtful = {
        "one of two is alive": workspace(dead, owner(process.pid, startTime)),
        "another container's": workspace(owner(process.pid, "1", boot, "pid:[1]")),
        "no record": workspace(),
        "a record that is not whole": workspace("12"),
        "another program's directory": lay("agent-layers-cli-xyz", dead),
        "no session's": lay(`other-${randomUUID()}`, dead)
      }
      for (const [why, directory] of Object.entries(doubtful)) assert.isFalse(yield* swept(directory), why)
      const kept = workspace(dead)
      fs.writeFileSync(path.join(kept, "kept"), "")
      assert.isFalse(yield* swept(kept))
      assert.deepStrictEqual(fs.readdirSync(kept).toSorted(), ["kept", "workspace"])
      const open = workspace(dead)
      fs.chmodSync(open, 0o777)
      assert.isFalse(yield* swept(open))
    }))

  it.live("and a link in its place is not followed", () =>
    Effect.gen(function*() {
      const victim = lay("victim", owner(process.pid, "1"))
      const link = path.join(root, `agent-layers-${randomUUID()}`)
      fs.symlinkSync(victim, link)
      yield* SandboxUnconfined.make({ root })
      assert.isTrue(fs.existsSync(victim))
    }))
})
