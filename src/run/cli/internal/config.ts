/** `config` and `health`: what the services are made of, and how they are. */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import type { ExtensionError } from "../../../services/ExtensionError.ts"
import * as Configuration from "../../extensions/Configuration.ts"
import * as Health from "../../extensions/Health.ts"
import { failed, found } from "./failure.ts"
import * as flags from "./flags.ts"
import { count, Output, table } from "./output.ts"
import * as stack from "./stack.ts"

const shown = (value: unknown): string => {
  if (value === undefined) return ""
  return typeof value === "string" ? value : Formatter.formatJson(value)
}

const useOf = (entry: Configuration.Stack) => typeof entry === "string" ? { use: entry } : entry

const nameOf = (entry: string | { readonly use: string }): string => typeof entry === "string" ? entry : entry.use

const show = Command.make(
  "show",
  {},
  Effect.fnUntraced(function*() {
    const output = yield* Output
    const services = yield* stack.open
    const all = yield* Effect.forEach(
      services.resolved,
      ({ entry, instance, kind }) =>
        Effect.map(services.registry.settings(kind, instance), (settings) => ({
          kind,
          instance,
          use: useOf(entry).use,
          wrap: (useOf(entry).wrap ?? []).map(nameOf),
          fallback: useOf(entry).fallback === undefined ? undefined : nameOf(useOf(entry).fallback!),
          required: useOf(entry).required ?? false,
          // What the command itself has chosen stands in no file.
          settings: settings.map((setting) =>
            services.chosen.has(kind) && setting.source === "file"
              ? { ...setting, source: "command" as const }
              : setting
          )
        }))
    )
    if (yield* flags.Json) {
      return yield* output.json({ file: services.file ?? null, agents: services.agents ?? null, services: all })
    }
    yield* output.print(`file: ${services.file ?? "none"}`)
    if (services.agents !== undefined) yield* output.print(`agents: ${services.agents}`)
    for (const { fallback, instance, kind, settings, use, wrap } of all) {
      const name = instance === "default" ? kind : `${kind} ${instance}`
      const stacked = [...wrap, use].join(" over ")
      yield* output.print(
        `\n${output.style.bold(name)}: ${stacked}${fallback === undefined ? "" : `, or else ${fallback}`}`
      )
      if (settings.length === 0) continue
      yield* output.print(table(
        ["of", "setting", "value", "from"],
        settings.map(({ extension, name, source, value }) => [extension, name, shown(value), source]),
        "  "
      ))
    }
  })
).pipe(Command.withDescription("Shows what is configured, with files and variables resolved and secrets redacted."))

const validate = Command.make(
  "validate",
  {},
  Effect.fnUntraced(function*() {
    const output = yield* Output
    const services = yield* stack.open
    const what = { file: services.file ?? null, services: services.resolved.length, broken: services.broken.length }
    if (services.broken.length > 0) {
      return yield* failed(
        `The configuration is right, but ${count(services.broken.length, "package")} cannot be used:\n${
          services.broken.map(({ error }) => `  ${error.message}`).join("\n")
        }`
      )
    }
    if (yield* flags.Json) return yield* output.json({ valid: true, ...what })
    yield* output.print(
      `${services.file ?? "the configuration (no file)"} is right: ${count(what.services, "service")}`
    )
  })
).pipe(
  Command.withDescription("Checks the configuration without building anything. All that is wrong is told at once.")
)

const schema = Command.make(
  "schema",
  {},
  Effect.fnUntraced(function*() {
    const output = yield* Output
    const { registry } = yield* stack.registry
    const made = yield* Configuration.jsonSchema(registry)
    const properties = typeof made["properties"] === "object" && made["properties"] !== null ? made["properties"] : {}
    const agents = { type: "string", description: "A module that exports agents, from where this file is." }
    const whole = { ...made, properties: { ...properties, agents } }
    if (yield* flags.Json) return yield* output.json(whole)
    yield* output.print(Formatter.formatJson(whole, { space: 2 }))
  })
).pipe(Command.withDescription("Prints a JSON Schema of configurations, for editors."))

export const config = Command.make("config").pipe(
  Command.withShortDescription("Look at the configuration"),
  Command.withDescription("Shows and checks the configuration, and prints its JSON Schema."),
  Command.withSubcommands([show, validate, schema])
)

export const health = Command.make(
  "health",
  {},
  Effect.fnUntraced(function*() {
    const output = yield* Output
    const { style } = output
    const services = yield* stack.open
    const broken: Array<{ readonly kind: string; readonly instance: string; readonly reason: string }> = []
    // One after another, so that what depends on another finds it built.
    yield* output.progress(
      services.resolved.length,
      ({ step }) =>
        Effect.forEach(services.resolved, ({ instance, isProvided, kind }) =>
          isProvided
            ? Effect.catch(
              Layer.build(services.registry.layer(kind, instance) as Layer.Layer<never, ExtensionError>),
              (error) => Effect.sync(() => void broken.push({ kind, instance, reason: error.message }))
            ).pipe(Effect.andThen(step(`${kind} ${instance}`)))
            : step(`${kind} ${instance}`), { discard: true })
    )
    const report = yield* Health.make(services.registry).check
    const status = broken.length > 0 ? "down" : report.status
    const isJson = yield* flags.Json
    if (isJson) {
      yield* output.json({ status, layers: report.layers, broken })
    } else {
      const paint = { healthy: style.green, degraded: style.yellow, down: style.red }
      yield* output.print(table(
        ["service", "uses", "status", "answered in", "why"],
        [
          ...report.layers.map((layer) => [
            layer.instance === "default" ? layer.kind : `${layer.kind} ${layer.instance}`,
            [...layer.wrap, layer.use].join(" over "),
            layer.status,
            layer.latencyMillis === undefined ? "" : `${layer.latencyMillis}ms`,
            [layer.insteadOf === undefined ? "" : `instead of ${layer.insteadOf}:`, layer.reason ?? ""].join(" ").trim()
          ]),
          ...broken.map(({ instance, kind, reason }) => [
            instance === "default" ? kind : `${kind} ${instance}`,
            "",
            "down",
            "",
            reason
          ])
        ]
      ))
      yield* output.print(`\n${paint[status](status)}`)
    }
    if (status === "down") return yield* found("A service is down", isJson)
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Ask the services how they are"),
  Command.withDescription(
    "Builds what is configured and asks each service a harmless question. Fails where one is down."
  )
)
