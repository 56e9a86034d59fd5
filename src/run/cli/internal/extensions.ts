/** `extensions`: what services can be made of. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Option from "effect/Option"
import * as Extension from "../../../services/Extension.ts"
import * as flags from "./flags.ts"
import { kindOf } from "./kinds.ts"
import { Output, table } from "./output.ts"
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

const subcommands = [list, show] as const

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
