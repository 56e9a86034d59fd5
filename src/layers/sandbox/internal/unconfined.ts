// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as crypto from "node:crypto"
import type { Guarantees } from "../../../services/Sandbox.ts"
import type { Backend } from "./local.ts"
import { baseEnvironment, shellArguments } from "./local.ts"
import { killTree } from "./processTree.ts"

/** `isAnchored`: whether files are reached by descriptor, if not what this system can do. */
export const backendOf = (
  root: string,
  path: ReadonlyArray<string>,
  guarantees: Guarantees,
  isAnchored?: boolean
): Backend => ({
  backend: "unconfined",
  guarantees,
  root,
  isAnchored,
  program: (place, { command, environment }, cwd) => {
    // Children inherit it, those too that leave the session.
    const mark = ["AGENT_LAYERS_COMMAND", crypto.randomUUID()] as const
    return {
      program: {
        file: "/bin/sh",
        arguments: shellArguments(command, ""),
        environment: { ...baseEnvironment(place.workspace, path), ...environment, [mark[0]]: mark[1] },
        cwd: cwd.address
      },
      end: (running) => killTree(running, mark.join("=")),
      exitCode: ({ exitCode }) => Effect.succeed(exitCode)
    }
  }
})
