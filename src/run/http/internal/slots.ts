/** How many runs go on, whose they are, and whether there is room for another. */
import { type Refusal, refuse } from "./problem.ts"

export interface Limits {
  readonly maxRuns: number
  readonly maxRunsPerTenant: number
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

export const make = (limits: Limits): Slots => {
  const active = new Map<string | undefined, number>()
  let running = 0
  let isClosed = false
  return {
    refusal: (tenant) =>
      isClosed
        ? stopping
        : running >= limits.maxRuns
        ? refuse(503, "too-many-runs", "As many runs are going on as this server takes. Try again later.", 1)
        : tenant !== undefined && (active.get(tenant) ?? 0) >= limits.maxRunsPerTenant
        ? refuse(429, "too-many-runs", "As many of your runs are going on as you may have. Try again later.", 1)
        : undefined,
    count: (tenant, change) => {
      running += change
      const ofTenant = (active.get(tenant) ?? 0) + change
      if (ofTenant === 0) active.delete(tenant)
      else active.set(tenant, ofTenant)
    },
    running: () => running,
    close: () => {
      isClosed = true
    },
    isClosed: () => isClosed
  }
}
