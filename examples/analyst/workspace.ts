/**
 * What the agent gets to see: a copy of the folder, without what it must not see and without what would be too much.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import { AnalystError } from "./errors.ts"
import { amount, size } from "./render.ts"

/** Left out wherever they stand, in upper or lower case; `*` stands for any characters. */
const leftOut = [
  ...[".git", ".hg", ".svn", "node_modules", ".agent-layers"],
  ...[".env*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx"],
  ...["id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh", ".aws", ".gnupg", ".kube", ".docker"],
  ...[".npmrc", ".netrc", ".pgpass", ".pypirc", ".git-credentials", ".htpasswd"]
]

const matcher = (names: ReadonlyArray<string>): RegExp => {
  const patterns = names.map((name) => name.replaceAll(/[\\^$.+?()[\]{}|/]/g, "\\$&").replaceAll("*", ".*"))
  return new RegExp(`^(?:${patterns.join("|")})$`, "isu")
}

/**
 * What a .gitignore names in plain words: names with at most one `*`, wherever they stand. Paths, other patterns and
 * what a line with `!` takes back are not followed, so that rather too much is seen than too little.
 */
const plainNames = (gitignore: string): ReadonlyArray<string> => {
  const lines = gitignore.split(/\r?\n/, 1_000).map((line) => line.trim().replace(/\/$/, ""))
  const kept = lines.filter((line) => line.startsWith("!")).map((line) => line.replace(/^!(?:.*\/)?/, ""))
  return lines.filter((line) =>
    /^(?!$|[#!]|\*$)[^\s/\\*?[\]]*\*?[^\s/\\*?[\]]*$/.test(line) &&
    !kept.some((name) => matcher([line]).test(name))
  )
}

const limits = { files: 3_000, names: 20_000, bytes: 64_000_000, fileBytes: 4_000_000 }

const ignoredNames = Effect.fnUntraced(
  function*(file: string) {
    const fs = yield* FileSystem.FileSystem
    const { size, type } = yield* fs.stat(file)
    return type === "File" && size < 100_000 ? plainNames(yield* fs.readFileString(file)) : []
  },
  // Where there is none, or none that can be read, nothing is named.
  Effect.orElseSucceed((): ReadonlyArray<string> => [])
)

type Verdict = "Copied" | "Directory" | "LeftOut" | "Link" | "Special" | "Large" | "Unreadable"

interface Found {
  readonly path: string
  readonly name: string
  readonly verdict: Verdict
  readonly bytes: number
}

/** Looks level by level, so that what lies near the top is seen before a limit is met. */
const survey = Effect.fn("survey")(function*(root: string, exclude: ReadonlyArray<string>) {
  const isLeftOut = matcher(exclude)
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const judge = Effect.fnUntraced(function*(where: string, { name, type }: FileSystem.DirectoryEntry) {
    const found = (verdict: Verdict, bytes = 0): Found => ({ path: where, name, verdict, bytes })
    if (isLeftOut.test(name)) return found("LeftOut")
    if (type === "SymbolicLink") return found("Link")
    if (type === "Directory") return found("Directory")
    if (type !== "File") return found("Special")
    const isReadable = yield* Effect.isSuccess(fs.access(path.join(root, where), { readable: true }))
    if (!isReadable) return found("Unreadable")
    const bytes = Number((yield* fs.stat(path.join(root, where))).size)
    return found(bytes > limits.fileBytes ? "Large" : "Copied", bytes)
  })

  const all: Array<Found> = []
  let files = 0
  let bytes = 0
  const directories = [""]
  for (const directory of directories) {
    const listing = yield* Effect.result(fs.readDirectoryEntries(path.join(root, directory)))
    if (listing._tag === "Failure") {
      if (directory === "") return yield* listing.failure
      all.push({ path: directory, name: path.basename(directory), verdict: "Unreadable", bytes: 0 })
      continue
    }
    for (const entry of listing.success.toSorted((a, b) => a.name < b.name ? -1 : 1)) {
      const found = yield* judge(path.join(directory, entry.name), entry)
      if (found.verdict === "Copied") {
        files++
        bytes += found.bytes
      }
      if (files > limits.files || bytes > limits.bytes || all.length === limits.names) return { all, isCut: true }
      if (found.verdict === "Directory") directories.push(found.path)
      all.push(found)
    }
  }
  return { all, isCut: false }
})

type Survey = Effect.Success<ReturnType<typeof survey>>

const describe = (root: string, { all, isCut }: Survey, hasIgnored: boolean) => {
  const of = (verdict: Verdict) => all.filter((found) => found.verdict === verdict)
  const counted = (verdict: Verdict, what: string) => of(verdict).length === 0 ? [] : [amount(of(verdict).length, what)]
  const here = [
    ...new Set(of("LeftOut").map(({ name }) => name)),
    ...counted("Link", "link"),
    ...counted("Special", "special file"),
    ...counted("Large", `file over ${size(limits.fileBytes)}`),
    ...counted("Unreadable", "unreadable path"),
    ...(isCut ? [`all beyond ${amount(of("Copied").length, "file")} (this folder is too large to copy)`] : [])
  ]
  const bytes = of("Copied").reduce((sum, found) => sum + found.bytes, 0)
  return `a copy of ${root} (${amount(of("Copied").length, "file")}, ${size(bytes)}); ` +
    `left out: .git, node_modules, .env*${hasIgnored ? ", keys and the plain names in .gitignore" : " and keys"}; ` +
    `found here: ${here.length === 0 ? "nothing" : here.join(", ")}`
}

/** What the sandbox is to copy, and a line that tells of it. */
export const prepare = Effect.fn("prepare")(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = path.resolve(directory)
  const plan = Effect.gen(function*() {
    const ignored = yield* ignoredNames(path.join(root, ".gitignore"))
    const exclude = [...leftOut, ...ignored]
    const found = yield* survey(root, exclude)
    const description = describe(root, found, ignored.length > 0)
    const isWhole = !found.isCut && found.all.every(({ verdict }) => verdict !== "Large" && verdict !== "Unreadable")
    // The sandbox copies a whole folder itself, file modes and all. A part of one is handed to it file by file.
    if (isWhole) return { description, manifest: { directories: [{ source: root, exclude }] } }
    const files: Record<string, Uint8Array> = Object.create(null)
    for (const { path: where, verdict } of found.all) {
      if (verdict === "Copied") files[where] = yield* fs.readFile(path.join(root, where))
    }
    return { description, manifest: { files } }
  })
  return yield* plan.pipe(
    Effect.catch((cause) =>
      Effect.flatMap(Effect.option(fs.stat(root)), (info) => {
        const isFile = Option.isSome(info) && info.value.type === "File"
        return new AnalystError({
          message: isFile
            ? `"${root}" is a file, not a folder`
            : `The folder "${root}" cannot be read: ${cause.reason._tag}`,
          advice: "Name a folder that is there and can be read: --dir DIR",
          cause
        })
      })
    )
  )
})
