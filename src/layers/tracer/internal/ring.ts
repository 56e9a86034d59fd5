/** The latest `capacity` values, in order; adding costs the same however many there are. */
export interface Ring<A> {
  readonly add: (value: A) => void
  readonly toArray: () => ReadonlyArray<A>
  readonly clear: () => void
  /** How many were pushed out. */
  readonly dropped: () => number
}

export const make = <A>(capacity: number): Ring<A> => {
  let values: Array<A> = []
  let head = 0
  let dropped = 0
  return {
    add: (value) => {
      values.push(value)
      if (values.length - head <= capacity) return
      dropped++
      head++
      if (head < capacity) return
      values = values.slice(head)
      head = 0
    },
    toArray: () => values.slice(head),
    clear: () => {
      values = []
      head = 0
      dropped = 0
    },
    dropped: () => dropped
  }
}
