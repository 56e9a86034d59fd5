/** SandboxUnconfined as it works on systems without /proc/self/fd: it reaches files by path. */
import { assert, describe, it } from "@effect/vitest"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SandboxLaws from "agent-layers/services/laws/SandboxLaws"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as local from "../../../src/layers/sandbox/internal/local.ts"
import * as unconfined from "../../../src/layers/sandbox/internal/unconfined.ts"
import { describeLaws } from "../../support/laws.ts"
import { localSubject } from "./subject.ts"

const claims = SandboxLaws.all.map((law) => law.name).filter((name) =>
  /^(fileSystem|network|environment|processes|memory|cpu|kernel|identity):/.test(name)
)

const byPath = localSubject("by-path", SandboxUnconfined.guarantees, (root) =>
  Effect.sync(() => {
    fs.mkdirSync(root, { recursive: true })
    return Sandbox.make(local.make(unconfined.backendOf(root, [], SandboxUnconfined.guarantees, false)))
  }))

// Such systems have no directories of this kind.
const laws = SandboxLaws.all.filter((law) => law.name !== "a command starts in a directory whose name is not UTF-8")

describeLaws("SandboxUnconfined by path", laws, byPath, { notShown: claims })

describe("SandboxUnconfined by path", () => {
  it.live("left nothing behind after its laws", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* byPath.workspaces!, 0)
    }))
})
