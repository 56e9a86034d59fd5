/**
 * Two tools beside those of ToolsSandbox: what is declared here is what a model sees, and the handlers are a Layer over
 * the current workspace, whichever sandbox holds it.
 */
import * as Sandbox from "agent-layers/services/Sandbox"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

export const Files = Schema.Struct({
  total: Schema.Int,
  bytes: Schema.Finite,
  /** By name's ending, the commonest first. */
  kinds: Schema.Array(Schema.Struct({ kind: Schema.String, files: Schema.Int })),
  /** At most 100. */
  paths: Schema.Array(Schema.String)
})

export const Matches = Schema.Struct({
  total: Schema.Int,
  filesSearched: Schema.Int,
  /** At most 50. */
  matches: Schema.Array(Schema.Struct({ path: Schema.String, line: Schema.Int, text: Schema.String }))
})

export const FindFiles = Tool.make("find_files", {
  description: "Counts files and lists their paths: all, or those below a folder, or those whose path contains a text",
  parameters: Schema.Struct({
    folder: Schema.String.annotate({ description: "Such as src/services; empty for the whole workspace" }),
    part: Schema.String.annotate({ description: "Part of the path, such as .ts; empty for all files" })
  }),
  success: Files,
  failure: Schema.String
})

export const FindText = Tool.make("find_text", {
  description: "Finds lines that contain a text (in upper or lower case), a whole name, or the definition of a name",
  parameters: Schema.Struct({
    text: Schema.String.check(Schema.isMinLength(1)),
    kind: Schema.Literals(["text", "name", "definition"])
  }),
  success: Matches,
  failure: Schema.String
})

export const Finders = Toolkit.make(FindFiles, FindText)

const kindOf = (path: string): string => /[^/](\.[^./]+)$/.exec(path)?.[1]?.toLowerCase() ?? "no ending"

const keyword =
  "class|interface|enum|struct|trait|impl|record|object|module|namespace|function|def|fn|func|const|let|var|val|macro"

const matcher = ({ kind, text }: typeof FindText.parametersSchema.Type): (line: string) => boolean => {
  const wanted = text.toLowerCase()
  if (kind === "text") return (line) => line.toLowerCase().includes(wanted)
  const name = `(?<![\\w$])${text.replaceAll(/[^\w$]|\$/g, (character) => `\\${character}`)}(?![\\w$])`
  // `type Name` alone may be a part of an import.
  const type = `type\\s+${name}(?=\\s*[=<{[(*]|\\s+(?!as\\b|from\\b)\\w)`
  const declared = `(?<![\\w$])(?:(?:${keyword})\\s+\\*?\\s*${name}|${type})`
  const expression = new RegExp(kind === "name" ? name : declared)
  return (line) => expression.test(line)
}

const handlers = Effect.gen(function*() {
  const workspace = yield* Sandbox.SandboxSession

  const list = (folder: string) =>
    Effect.map(
      workspace.list(folder, { isRecursive: true }),
      (entries) => entries.filter(({ kind }) => kind === "file")
    )

  const search = Effect.fnUntraced(function*(isMatch: (line: string) => boolean) {
    const matches: Array<typeof Matches.Type["matches"][number]> = []
    let total = 0
    let filesSearched = 0
    for (const { path, size } of yield* list("")) {
      if (size > 1_000_000) continue
      const text = new TextDecoder().decode(yield* workspace.readFile(path))
      if (text.includes("\0")) continue
      filesSearched++
      for (const [index, line] of text.split("\n").entries()) {
        if (!isMatch(line)) continue
        total++
        if (matches.length < 50) matches.push({ path, line: index + 1, text: line.trim().slice(0, 200) })
      }
    }
    return { total, filesSearched, matches }
  })

  return Finders.of({
    find_files: ({ folder, part }) =>
      list(folder).pipe(Effect.mapBoth({
        onFailure: (error) => error.reason.message,
        onSuccess: (entries) => {
          const found = entries.filter(({ path }) => path.toLowerCase().includes(part.toLowerCase()))
          const kinds = Object.entries(Arr.groupBy(found, ({ path }) => kindOf(path)))
          return {
            total: found.length,
            bytes: found.reduce((sum, { size }) => sum + size, 0),
            kinds: kinds.map(([kind, { length }]) => ({ kind, files: length })).sort((a, b) => b.files - a.files),
            paths: found.slice(0, 100).map(({ path }) => path)
          }
        }
      })),
    find_text: (wanted) =>
      search(matcher(wanted)).pipe(
        Effect.mapError((error) => error.reason.message),
        // The tool's own span is enough; each of thousands of files would have one inside it.
        Effect.withTracerEnabled(false)
      )
  })
})

export const layer: Layer.Layer<Tool.HandlersFor<typeof Finders.tools>, never, Sandbox.SandboxSession> = Finders
  .toLayer(
    handlers
  )
