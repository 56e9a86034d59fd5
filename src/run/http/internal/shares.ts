/** A pool of places that tenants share, so that one tenant cannot take the place of another. */

export interface Shares {
  /** Whether there is no place for this tenant: none at all, or only those that are left to others. */
  readonly lack: (tenant: string | undefined) => "all" | "share" | undefined
  readonly count: (tenant: string | undefined, change: 1 | -1) => void
  readonly of: (tenant: string | undefined) => number
  readonly size: () => number
  /** The most places that one tenant has. */
  readonly largest: () => number
}

/**
 * Without a number of its own a tenant may have as many places as are free. A single one gets half, each further one
 * half of what is left, and a tenant that comes later still finds a place.
 */
export const make = (total: number, perTenant: number | undefined): Shares => {
  const taken = new Map<string | undefined, number>()
  let size = 0
  const of = (tenant: string | undefined): number => taken.get(tenant) ?? 0
  return {
    lack: (tenant) =>
      size >= total
        ? "all"
        : tenant !== undefined && of(tenant) >= (perTenant ?? total - size)
        ? "share"
        : undefined,
    count: (tenant, change) => {
      size += change
      const now = of(tenant) + change
      if (now === 0) taken.delete(tenant)
      else taken.set(tenant, now)
    },
    of,
    size: () => size,
    largest: () => Math.max(0, ...taken.values())
  }
}
