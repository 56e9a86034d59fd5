// A program that runs one command in a sandbox: `host.ts <backend> <root> <command>`. Prints where the workspace lies
// when the command is said to run on, else what the command printed.
import * as SandboxBubblewrap from "agent-layers/layers/sandbox/SandboxBubblewrap"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"

const [, , backend, root, command, waits] = process.argv as [string, string, string, string, string, string]
const { make } = backend === "bubblewrap" ? SandboxBubblewrap : SandboxUnconfined

const program = Effect.scoped(Effect.gen(function*() {
  const sandbox = yield* make({ root })
  const session = yield* sandbox.create()
  if (waits === "waits") return yield* Effect.map(session.exec(command), ({ stderr, stdout }) => stdout + stderr)
  yield* Effect.forkScoped(session.exec(command))
  while (!fs.existsSync(path.join(session.state.location, "workspace/beats"))) yield* Effect.sleep("20 millis")
  fs.writeSync(1, session.state.location)
  return yield* Effect.never
}))

process.stdout.write(await Effect.runPromise(program))
