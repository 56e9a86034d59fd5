// @effect-diagnostics nodeBuiltinImport:off
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import type { SandboxErrorReason } from "../../../services/SandboxError.ts"
import { Unavailable } from "../../../services/SandboxError.ts"

/**
 * Users of this machine that workspaces belong to, so that commands of root's own program are not root's. Each has a
 * group of the same number. They need no account.
 */

export interface UserRange {
  readonly first: number
  readonly last: number
}

/** Between the ids that systemd gives to containers and the signed limit: no distribution assigns them. */
const usual: UserRange = { first: 1_900_000_000, last: 1_900_065_535 }

/** For a host that is itself in a container of 65,536 ids. */
const small: UserRange = { first: 30_000, last: 59_999 }

/** Capabilities with which root gives files away and becomes another user; a container may lack them. */
const capabilities = { CAP_CHOWN: 0, CAP_DAC_OVERRIDE: 1, CAP_FOWNER: 3, CAP_KILL: 5, CAP_SETGID: 6, CAP_SETUID: 7 }

const unavailable = (description: string) => Effect.fail(new Unavailable({ description }))

const orHost = `or pass user: "host", by which commands run as root without capabilities and less is guaranteed`

export const isRoot = (): boolean => process.geteuid?.() === 0

const isIdentifier = (value: number): boolean => Number.isInteger(value) && value > 0 && value < 0x7fffffff

/** Whether all of the range exists in the user namespace of this process. */
const isMapped = ({ first, last }: UserRange): boolean =>
  ["uid_map", "gid_map"].every((name) =>
    fs.readFileSync(`/proc/self/${name}`, "latin1").trim().split("\n").some((line) => {
      const [start = 0, , count = 0] = line.trim().split(/\s+/).map(Number)
      return first >= start && last < start + count
    })
  )

const missingCapabilities = (): ReadonlyArray<string> => {
  const found = /^CapEff:\s*([0-9a-f]+)/m.exec(fs.readFileSync("/proc/self/status", "latin1"))
  const effective = BigInt(`0x${found?.[1] ?? "0"}`)
  return Object.entries(capabilities).flatMap(([name, bit]) => (effective >> BigInt(bit)) & 1n ? [] : [name])
}

/** The users for workspaces; `undefined`: they belong to this process's own. */
export const chooseUsers = (
  user: "workspace" | "host" | undefined,
  range: UserRange | undefined
): Effect.Effect<UserRange | undefined, SandboxErrorReason> =>
  Effect.suspend(() => {
    if (user === "host" || !isRoot()) return Effect.succeed(undefined)
    if (range !== undefined && !(isIdentifier(range.first) && isIdentifier(range.last) && range.first <= range.last)) {
      return unavailable(
        `users is ${range.first} to ${range.last}; pass two user ids above 0, the smaller one as first`
      )
    }
    const users = [range ?? usual, ...(range === undefined ? [small] : [])].find(isMapped)
    if (users === undefined) {
      return unavailable(
        `This process cannot use the user ids ${(range ?? usual).first} to ${(range ?? usual).last}: its user ` +
          `namespace does not have them (/proc/self/uid_map). Pass users that it has, ${orHost}`
      )
    }
    const missing = missingCapabilities()
    return missing.length === 0
      ? Effect.succeed(users)
      : unavailable(
        `This process is root but cannot run commands as another user: it lacks ${missing.join(", ")}. Start it with ` +
          `them (--cap-add in a container), ${orHost}`
      )
  })

/** The first directory above a place that a user without rights of its own cannot pass. */
export const findBarrier = (place: string): string | undefined => {
  const above = path.dirname(place)
  const barrier = above === place ? undefined : findBarrier(above)
  return barrier ?? ((fs.statSync(above).mode & 0o001) === 0 ? above : undefined)
}
