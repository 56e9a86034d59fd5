/** A map that forgets what was not used for longest when it holds more than its bounds. */
export interface BoundedCache<A> {
  readonly get: (key: string) => A | undefined
  /** What is larger than the bounds on its own is not kept. */
  readonly set: (key: string, value: A) => void
  readonly remove: (key: string) => void
  readonly size: () => { readonly entries: number; readonly items: number; readonly bytes: number }
}

export interface Weight {
  readonly items: number
  readonly bytes: number
}

/** @internal */
export const make = <A>(maximum: Weight, weigh: (key: string, value: A) => Weight): BoundedCache<A> => {
  // Oldest use first.
  const entries = new Map<string, { readonly value: A; readonly weight: Weight }>()
  let items = 0
  let bytes = 0

  const remove = (key: string): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    items -= entry.weight.items
    bytes -= entry.weight.bytes
  }

  return {
    get: (key) => {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      entries.delete(key)
      entries.set(key, entry)
      return entry.value
    },
    set: (key, value) => {
      remove(key)
      const weight = weigh(key, value)
      if (weight.items > maximum.items || weight.bytes > maximum.bytes) return
      entries.set(key, { value, weight })
      items += weight.items
      bytes += weight.bytes
      for (const oldest of entries.keys()) {
        if (items <= maximum.items && bytes <= maximum.bytes) return
        remove(oldest)
      }
    },
    remove,
    size: () => ({ entries: entries.size, items, bytes })
  }
}
