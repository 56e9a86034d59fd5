/** Reads README.md the way its tests need it. */
import { assert } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

export const file = path.join(root, "README.md")

export const read = (): string => fs.readFileSync(file, "utf8")

export interface Snippet {
  /** The file name in its first line. */
  readonly name: string
  readonly source: string
}

/** The TypeScript blocks, in order. */
export const snippets = (): ReadonlyArray<Snippet> =>
  [...read().matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, source = ""]) => {
    const name = /^\/\/ (\S+\.ts)\n/.exec(source)?.[1]
    assert.isString(name, `a snippet begins with the name of its file:\n${source}`)
    return { name: name as string, source }
  })

/** The body rows of the first table under a heading. */
export const table = (heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = read().split("\n")
  const start = lines.indexOf(heading)
  assert.isAtLeast(start, 0, `README has the heading ${heading}`)
  const section = lines.slice(start + 1)
  const end = section.findIndex((line) => line.startsWith("## "))
  return section.slice(0, end < 0 ? undefined : end)
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
}

/** What stands in backticks. */
export const code = (text: string): ReadonlyArray<string> => [...text.matchAll(/`([^`]+)`/g)].map(([, it = ""]) => it)
