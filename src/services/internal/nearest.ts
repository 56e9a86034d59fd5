/** How many letters have to be put in, taken out, replaced or swapped to make one text of the other. */
const distance = (a: string, b: string): number => {
  let before: Array<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      let best = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + (isSame ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, before[j - 2]! + 1)
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length]!
}

const plain = (text: string): string => text.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "")

/**
 * The name that somebody who wrote `name` is likely to have meant, if any: one that differs by few letters, or that
 * begins with it or it with that.
 *
 * @internal
 */
export const nearest = (name: string, names: Iterable<string>): string | undefined => {
  const wanted = plain(name)
  let found: string | undefined
  let least = Infinity
  for (const candidate of names) {
    const other = plain(candidate)
    const isPart = Math.min(wanted.length, other.length) >= 3 && (other.startsWith(wanted) || wanted.startsWith(other))
    const far = distance(wanted, other)
    const cost = isPart ? Math.min(far, 1.5) : far
    if (cost < least && cost <= Math.max(1, Math.floor(Math.max(wanted.length, other.length) / 3))) {
      found = candidate
      least = cost
    }
  }
  return found
}
