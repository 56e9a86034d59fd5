/** Each attempt of `attacks.ts`, with its claim and its outcome, over real bubblewrap and each way to start it. */
import { assert, describe, it } from "@effect/vitest"
import type { Guarantees } from "agent-layers/services/Sandbox"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { beforeAll } from "vitest"
import { findBarrier } from "../../../src/layers/sandbox/internal/users.ts"
import { requires } from "../../support/requires.ts"
import type { Start } from "./attacks.ts"
import { rows } from "./attacks.ts"
import { temporary } from "./subject.ts"

const bubblewrap = requires("bubblewrap")
const isRoot = process.geteuid?.() === 0
const program = fileURLToPath(new URL("attacks.ts", import.meta.url))

/** A user without an account, and none of those that workspaces belong to. */
const nobody = 1_900_100_000

interface Outcomes {
  readonly guarantees: Guarantees
  readonly outcomes: Readonly<Record<string, string>>
}

const starts: Readonly<Record<Start, { readonly user: string; readonly uid?: number; readonly missing?: string }>> = {
  root: { user: "workspace", ...(isRoot ? {} : { missing: "these tests are not root's" }) },
  "root, user: host": { user: "host", ...(isRoot ? {} : { missing: "these tests are not root's" }) },
  "another user": {
    user: "workspace",
    ...(isRoot ? { uid: nobody } : {}),
    ...(isRoot && (findBarrier(program) ?? findBarrier(process.execPath)) !== undefined
      ? { missing: `another user cannot read ${program} or run ${process.execPath}` }
      : {})
  }
}

const attack = (scratch: string, start: Start): Effect.Effect<Outcomes> =>
  Effect.callback((resume) => {
    const { uid, user } = starts[start]
    const root = path.join(scratch, start.replaceAll(/\W+/g, "-"))
    fs.mkdirSync(root)
    fs.chmodSync(root, 0o711)
    if (uid !== undefined) fs.chownSync(root, uid, uid)
    const child = spawn(
      process.execPath,
      ["--conditions=agent-layers:source", "--no-warnings", program, root, user],
      {
        cwd: "/",
        env: { PATH: process.env["PATH"] },
        stdio: ["ignore", "pipe", "inherit"],
        ...(uid === undefined ? {} : { uid, gid: uid })
      }
    )
    let out = ""
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString()
    })
    child.once("close", (code) =>
      resume(
        code === 0
          ? Effect.sync(() => {
            assert.deepStrictEqual(fs.readdirSync(root), [])
            return JSON.parse(out) as Outcomes
          })
          : Effect.die(new Error(`${program} ended with ${code}`))
      ))
  })

describe.skipIf(!bubblewrap.available)(bubblewrap.title("attempts against SandboxBubblewrap"), () => {
  const scratch = temporary("attacks")

  for (const start of Object.keys(starts) as ReadonlyArray<Start>) {
    const { missing } = starts[start]
    describe.skipIf(missing !== undefined)(missing === undefined ? start : `${start} [not shown: ${missing}]`, () => {
      let seen: Outcomes
      beforeAll(async () => {
        seen = await Effect.runPromise(attack(scratch, start))
      })

      it("claims what it can show", () => {
        const { cpu, identity, memory, ...others } = seen.guarantees
        assert.deepStrictEqual([cpu, memory, identity], [false, false, start === "root"])
        assert.notInclude(Object.values(others), false)
      })

      for (const { attempt, claim, outcome } of rows) {
        it(`${attempt} -> ${claim ?? "contract"}`, (test) => {
          const expected = typeof outcome === "string" ? outcome : outcome[start]
          const got = seen.outcomes[attempt]
          if (got?.startsWith("not shown: ") === true) return test.skip(got)
          assert.strictEqual(got, expected)
        })
      }
    })
  }
})
