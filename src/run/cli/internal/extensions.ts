/** `extensions`: what services can be made of. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Extension from "../../../services/Extension.ts"
import * as Check from "../../extensions/Check.ts"
import { found } from "./failure.ts"
import * as flags from "./flags.ts"
import { kindOf } from "./kinds.ts"
import { count, Output, printable, table } from "./output.ts"
import * as scaffold from "./scaffold.ts"
import * as stack from "./stack.ts"

const list = Command.make(
  "list",
  {
    kind: Flag.String("kind").pipe(
      Flag.optional,
      Flag.withMetavar("KIND"),
      Flag.withDescription(`Only those of a kind: ${Extension.ExtensionKind.literals.join(", ")}`)
    )
  },
  Effect.fnUntraced(function*({ kind }) {
    const output = yield* Output
    const wanted = Option.isSome(kind) ? yield* kindOf(kind.value) : undefined
    const { broken, registry } = yield* stack.registry
    const all = (yield* registry.list).filter((one) => wanted === undefined || one.kind === wanted)
    if (yield* flags.Json) {
      return yield* output.json({
        extensions: all.map(({ extension, ...one }) => ({ ...one, isLoaded: extension !== undefined })),
        broken: broken.map(({ error, package: name }) => ({
          package: name,
          reason: error.reason._tag,
          message: error.message
        }))
      })
    }
    yield* output.print(table(
      ["kind", "name", "version", "from", ""],
      all.map((one) => [
        one.kind,
        one.name,
        one.version,
        one.origin,
        one.compatibility._tag === "Incompatible"
          ? `needs agent-layers ${one.compatibility.required}`
          : `${one.decorates ? "decorates: " : ""}${one.description}`
      ])
    ))
    for (const { error } of broken) yield* output.note(`cannot be used: ${error.message}`)
  })
).pipe(Command.withDescription("Lists the extensions of agent-layers and of the project's dependencies."))

const show = Command.make(
  "show",
  {
    kind: Argument.String("kind").pipe(Argument.withDescription(Extension.ExtensionKind.literals.join(", "))),
    name: Argument.String("name")
  },
  Effect.fnUntraced(function*({ kind: given, name }) {
    const output = yield* Output
    const kind = yield* kindOf(given)
    const { registry } = yield* stack.registry
    const extension = yield* registry.get(kind, name)
    const listed = (yield* registry.list).find((one) => one.kind === kind && one.name === name)
    const settings = Object.entries(extension.config).map(([name, setting]) => ({
      name,
      description: setting.description,
      isRequired: setting.isRequired,
      isSecret: setting.isSecret,
      default: setting.isSecret ? undefined : setting.default,
      variable: setting.variable
    }))
    const packages = extension.packages ?? {}
    if (yield* flags.Json) {
      return yield* output.json({
        kind,
        name,
        version: extension.version,
        origin: listed?.origin,
        compatibleWith: extension.compatibleWith,
        compatibility: Extension.compatibility(extension),
        description: extension.description,
        decorates: extension.decorates,
        needs: extension.needs,
        packages,
        settings
      })
    }
    const line = (what: string, text: string) => `${output.style.dim(`${what}:`.padEnd(12))}${text}`
    yield* output.print([
      `${output.style.bold(`${kind} ${name}`)} ${extension.version}`,
      extension.description,
      line("from", listed?.origin ?? ""),
      line("works with", `agent-layers ${extension.compatibleWith}`),
      ...(extension.decorates ? [line("decorates", `a ${kind}: it stands in \`wrap\``)] : []),
      ...(extension.needs.length === 0 ? [] : [line("needs", extension.needs.join(", "))]),
      ...(Object.keys(packages).length === 0
        ? []
        : [line("packages", Object.entries(packages).map(([name, range]) => `${name} ${range}`).join(", "))])
    ].join("\n"))
    if (settings.length === 0) return yield* output.print("It has no settings.")
    yield* output.print(`\n${
      table(
        ["setting", "default", "variable", ""],
        settings.map((setting) => [
          setting.name,
          setting.isRequired
            ? "(required)"
            : setting.default === undefined
            ? ""
            : Formatter.formatJson(setting.default),
          setting.variable ?? "",
          `${setting.isSecret ? "secret: " : ""}${setting.description}`
        ])
      )
    }`)
  })
).pipe(Command.withDescription("Shows an extension and its settings."))

const fresh = Command.make(
  "new",
  {
    dir: Flag.String("dir").pipe(
      Flag.optional,
      Flag.withMetavar("DIR"),
      Flag.withDescription("The folder to write to: a new or an empty one. Default: the package's name, here")
    ),
    kind: Argument.String("kind").pipe(Argument.withDescription(Extension.ExtensionKind.literals.join(", "))),
    name: Argument.String("name").pipe(Argument.withDescription("Of the extension: small letters, digits and \"-\""))
  },
  Effect.fnUntraced(function*({ dir, kind, name }) {
    const output = yield* Output
    const path = yield* Path.Path
    const made = yield* Effect.fromResult(scaffold.scaffold(kind, name))
    const folder = path.resolve(Option.getOrElse(dir, () => made.packageName))
    yield* scaffold.write(made, folder)
    const files = made.files.map(({ path }) => path)
    if (yield* flags.Json) return yield* output.json({ folder, package: made.packageName, files })
    yield* output.print([
      `wrote ${count(files.length, "file")} to ${folder}:`,
      ...files.map((file) => `  ${file}`),
      "",
      "next:",
      `  cd ${path.relative(path.resolve(), folder) || "."} && npm install && npm test`,
      "  npx agent-layers extensions check"
    ].join("\n"))
  })
).pipe(Command.withDescription("Writes a package with an extension, which builds, tests and packs at once."))

const topics = ["manifest", "compatibility", "laws", "pack"] as const

const check = Command.make(
  "check",
  {
    only: Flag.Literals("only", topics).pipe(
      Flag.atLeast(0),
      Flag.withDescription("Make this check; may be given more than once. Default: all of them")
    ),
    dir: Argument.String("dir").pipe(
      Argument.withDescription("The folder of the package. Default: the current one"),
      Argument.withDefault(".")
    )
  },
  Effect.fnUntraced(function*({ dir, only }) {
    const output = yield* Output
    const path = yield* Path.Path
    const chosen = topics.filter((topic) => only.length === 0 || only.includes(topic))
    const reports = yield* output.progress(
      chosen.length,
      ({ step }) =>
        Effect.forEach(
          chosen,
          (topic) => Effect.tap(Check.check(path.resolve(dir), { topics: [topic] }), () => step(topic))
        )
    )
    const report: Check.Report = {
      package: reports[0]!.package,
      lines: reports.flatMap(({ lines }) => lines),
      isPassed: reports.every(({ isPassed }) => isPassed)
    }
    const isJson = yield* flags.Json
    yield* isJson ? output.json(report) : output.print(printable(Check.render(report)))
    if (!report.isPassed) return yield* found(`"${report.package}" is not ready to be published`, isJson)
  })
).pipe(
  Command.withDescription(
    "Checks a package with extensions before it is published: manifest, compatibility, laws and what npm packs. It runs " +
      "the package's own tests."
  )
)

const subcommands = [list, show, fresh, check] as const

export const extensions = Command.make("extensions").pipe(
  Command.withShortDescription("Look at extensions"),
  Command.withDescription("Lists, shows, checks and scaffolds extensions."),
  Command.withSubcommands(subcommands)
)

/** Another word for it. */
export const extension = Command.make("extension").pipe(
  Command.withDescription("Lists, shows, checks and scaffolds extensions."),
  Command.withSubcommands(subcommands),
  Command.unlisted
)
