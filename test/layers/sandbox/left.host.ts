// A program that makes two workspaces, of which it means to keep one, tells where they lie, and waits to be killed:
// `left.host.ts <backend> <root>`.
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import { Effect } from "effect"
import * as fs from "node:fs"

const [, , backend, root] = process.argv as [string, string, string, string]
const { make } = backend === "bubblewrap" ? SandboxBubblewrap : SandboxUnconfined

await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const sandbox = yield* make({ root })
  const left = yield* sandbox.create({ files: { "deep/er/file": "x" } })
  const kept = yield* sandbox.create({ files: { file: "kept" } }, { isKept: true })
  yield* left.exec("mkdir -p no/way; : > no/way/file; chmod 000 no/way no")
  fs.writeSync(1, JSON.stringify([left.state, kept.state]))
  // Unlike a wait for ever, it keeps the process alive.
  yield* Effect.sleep("1 hour")
})))
