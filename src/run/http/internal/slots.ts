/** Whether there is room for another run. */
import { type Refusal, refuse } from "./problem.ts"
import * as Shares from "./shares.ts"

export interface Limits {
  readonly maxRuns: number
  readonly maxRunsPerTenant: number | undefined
}

export interface Slots {
  /** Why a run of this tenant cannot begin now. */
  readonly refusal: (tenant: string | undefined) => Refusal | undefined
  readonly count: (tenant: string | undefined, change: 1 | -1) => void
  readonly running: () => number
  /** From now on there is room for none. */
  readonly close: () => void
  readonly isClosed: () => boolean
}

export const stopping = refuse(503, "stopping", "The server is stopping and takes no new runs. Try again later.", 5)

const refusals = {
  all: refuse(503, "too-many-runs", "As many runs are going on as this server takes. Try again later.", 1),
  share: refuse(429, "too-many-runs", "As many of your runs are going on as you may have. Try again later.", 1)
}

export const make = (limits: Limits): Slots => {
  const shares = Shares.make(limits.maxRuns, limits.maxRunsPerTenant)
  let isClosed = false
  return {
    refusal: (tenant) => {
      const lack = shares.lack(tenant)
      return isClosed ? stopping : lack === undefined ? undefined : refusals[lack]
    },
    count: shares.count,
    running: shares.size,
    close: () => {
      isClosed = true
    },
    isClosed: () => isClosed
  }
}
