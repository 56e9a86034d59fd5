/** `check`: the laws of a service over a live backend. */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { found, misused } from "./failure.ts"
import * as flags from "./flags.ts"
import { kindOf } from "./kinds.ts"
import { checks } from "./live.ts"
import { count, Output, printable } from "./output.ts"
import * as stack from "./stack.ts"

export const check = Command.make(
  "check",
  {
    use: Flag.String("use").pipe(
      Flag.optional,
      Flag.withMetavar("NAME"),
      Flag.withDescription(
        "An extension, with its settings from the configuration where that uses it, and from variables"
      )
    ),
    instance: Flag.String("instance").pipe(
      Flag.withDefault("default"),
      Flag.withMetavar("NAME"),
      Flag.withDescription("Which of the configured ones, without --use. Default: default, or the only one")
    ),
    only: Flag.String("only").pipe(
      Flag.optional,
      Flag.withMetavar("TEXT"),
      Flag.withDescription("Only laws whose names have this text in them")
    ),
    seed: Flag.String("seed").pipe(
      Flag.withDefault("agent-layers"),
      Flag.withDescription("Repeats what a broken law has drawn")
    ),
    service: Argument.String("service").pipe(Argument.withDescription("session, sandbox, model, mcp or tracer"))
  },
  Effect.fnUntraced(function*({ instance, only, seed, service, use }) {
    const output = yield* Output
    const { style } = output
    const kind = yield* kindOf(service)
    const { registry, resolved } = yield* stack.open
    let checked = instance
    if (Option.isSome(use)) {
      const used = resolved.find(({ entry, kind: other }) =>
        other === kind && (typeof entry === "string" ? entry : entry.use) === use.value
      )
      checked = used?.instance ?? "default"
      if (used === undefined) yield* registry.configure(kind, { use: use.value, probe: false })
      else {
        const settings = typeof used.entry === "string" ? {} : used.entry.settings ?? {}
        yield* registry.configure(kind, { use: use.value, settings, probe: false }, { instance: checked })
      }
    } else {
      const known = yield* registry.instances(kind)
      if (!known.includes(instance)) {
        if (known.length !== 1 || instance !== "default") {
          return yield* misused(
            known.length === 0 ? `No ${kind} is configured` : `There is no ${kind} "${instance}"`,
            known.length === 0 ? "Name an extension: --use NAME" : `There are: ${known.join(", ")}`
          )
        }
        checked = known[0]!
      }
    }

    const all = (yield* checks(registry, kind, checked)).filter(({ name }) =>
      Option.isNone(only) || name.includes(only.value)
    )
    if (all.length === 0) return yield* misused("No law has that text in its name", "Leave --only out to see them all")
    const outcomes = yield* output.progress(
      all.length,
      ({ step }) =>
        Effect.forEach(
          all,
          ({ name, run }) => Effect.flatMap(run(seed), (outcome) => Effect.as(step(name), { law: name, ...outcome }))
        )
    )

    const held = outcomes.filter(({ _tag }) => _tag === "Held").length
    const broken = outcomes.filter((outcome) => outcome._tag === "Broken")
    const notShown = outcomes.filter(({ _tag }) => _tag === "NotShown").length
    const isJson = yield* flags.Json
    if (isJson) {
      yield* output.json({ service: kind, seed, held, notShown, broken: broken.length, laws: outcomes })
    } else {
      for (const outcome of outcomes) {
        const line = outcome._tag === "Held"
          ? `${style.green("held     ")} ${outcome.law}`
          : outcome._tag === "NotShown"
          ? `${style.dim("not shown")} ${outcome.law} ${style.dim(`(${outcome.missing})`)}`
          : `${style.red("BROKEN   ")} ${printable(outcome.report).replaceAll("\n", "\n          ")}`
        yield* output.print(line)
      }
      yield* output.print(`\n${count(all.length, "law")}: ${held} held, ${notShown} not shown, ${broken.length} broken`)
    }
    if (broken.length > 0) {
      return yield* found(
        `${count(broken.length, "law")} of ${kind} ${broken.length === 1 ? "is" : "are"} broken`,
        isJson
      )
    }
  }, Effect.scoped)
).pipe(
  Command.withShortDescription("Hold a backend to the laws of its service"),
  Command.withDescription(
    "Runs the laws of a service over a live backend. Those of sessions write to conversations whose ids begin with " +
      "laws-, and clear them after; those of models ask the model. Fails where a law is broken."
  ),
  Command.withExamples([{ command: "agent-layers check session --use postgres", description: "With DATABASE_URL set" }])
)
