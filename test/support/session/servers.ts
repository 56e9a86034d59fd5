/** What is shown of sessions on servers, whichever server it is. */
import { assert } from "@effect/vitest"
import type { Item } from "agent-layers/services/Item"
import { text } from "agent-layers/services/Item"
import type { Session } from "agent-layers/services/Session"
import { Effect } from "effect"
import type { WriterOptions } from "../../layers/session/fixtures/serverWriter.ts"
import { runProgram } from "./child.ts"

const writer = (options: WriterOptions) =>
  runProgram(new URL("../../layers/session/fixtures/serverWriter.ts", import.meta.url), [JSON.stringify(options)])

/** The items of a commit stand together and are whole; gives `name/turn` of each. */
export const commitsOf = (items: ReadonlyArray<Item>, size: number): ReadonlyArray<string> => {
  const names = items.map(text)
  assert.strictEqual(names.length % size, 0)
  const commits: Array<string> = []
  for (let index = 0; index < names.length; index += size) {
    const commit = names[index]!.replace(/\.0$/, "")
    assert.deepStrictEqual(
      names.slice(index, index + size),
      Array.from({ length: size }, (_, position) => `${commit}.${position}`)
    )
    commits.push(commit)
  }
  return commits
}

/** Several processes open a fresh store and write one conversation at once. */
export const writersInProcesses = (
  options: Pick<WriterOptions, "backend" | "url" | "commits">,
  session: Session["Service"]
) =>
  Effect.gen(function*() {
    const names = ["a", "b", "c"]
    const children = yield* Effect.forEach(
      names,
      (name) => writer({ ...options, conversation: "shared", name, size: 3 })
    )
    yield* Effect.forEach(children, (child) => child.read(1))
    for (const child of children) child.process.stdin.write("go\n")
    const codes = yield* Effect.forEach(children, (child) => child.ended, { concurrency: "unbounded" })
    assert.deepStrictEqual(codes, [0, 0, 0])
    const { items, version } = yield* session.loadItems("shared")
    assert.strictEqual(version, names.length * options.commits)
    const stored = commitsOf(items, 3)
    children.forEach((child, index) => {
      const answers = child.lines.slice(1).map((line) =>
        JSON.parse(line) as { readonly turn: number; readonly version: number }
      )
      assert.strictEqual(answers.length, options.commits)
      // Each process was told the place that its commits have.
      for (const { turn, version } of answers) assert.strictEqual(stored[version - 1], `${names[index]}/${turn}`)
    })
  })
