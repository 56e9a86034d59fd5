import type { Template } from "./scaffoldTemplate.ts"

/** Written for the name `acme`, which becomes the one that is asked for. */
export const tool: Template = {
  module: "ToolsAcme",
  description: "The date and the time, for agents.",
  settings: `{}`,
  source: `/** Tools for agents: what they say, and what they do. Replace them by yours. */
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

export interface Options {
  /** The time zone of the answers, such as \`Europe/Berlin\`. */
  readonly zone: string
}

export const toolkit = Toolkit.make(
  Tool.make("current_time", {
    description: "Tells the date and the time.",
    parameters: Schema.Struct({
      zone: Schema.optionalKey(Schema.String.annotate({ description: "A time zone, such as Europe/Berlin" }))
    }),
    success: Schema.String,
    // What the model is told, so that it can mend it.
    failure: Schema.String
  })
)

export const layer = (options: Options): Layer.Layer<Tool.HandlersFor<Toolkit.Tools<typeof toolkit>>> =>
  toolkit.toLayer({
    current_time: ({ zone = options.zone }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const zoned = DateTime.setZoneNamed(DateTime.makeUnsafe(now), zone)
        return zoned._tag === "None"
          ? Effect.fail("There is no time zone " + zone)
          : Effect.succeed(DateTime.formatIsoZoned(zoned.value))
      })
  })
`,
  extension: `import * as Extension from "agent-layers/services/Extension"
import * as Setting from "agent-layers/services/Setting"
import * as ToolsAcme from "./ToolsAcme.ts"

export default Extension.make({
  kind: "tool",
  name: "acme",
  version: "0.1.0",
  compatibleWith: "@COMPATIBLE@",
  description: "@DESCRIPTION@",
  config: {
    zone: Setting.text("The time zone of the answers, such as Europe/Berlin.", { default: "UTC" })
  },
  toolkit: ToolsAcme.toolkit,
  layer: ToolsAcme.layer
})
`,
  testName: "tools",
  test: `/** The tools, under an agent whose model, session and traces are doubles. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, Runner } from "agent-layers"
import { ModelScripted, TestAgents, Traces } from "agent-layers/testing"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as ToolsAcme from "../src/ToolsAcme.ts"

const Butler = Agent.make({ name: "butler", toolkit: ToolsAcme.toolkit })

const asked = (...calls: ReadonlyArray<unknown>) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(0)
    const { items } = yield* Runner.run(Butler, "What time is it?")
    yield* Traces.expectSpan("execute_tool current_time", { times: calls.length })
    return items.flatMap(({ output }) => typeof output === "string" ? [output] : [])
  }).pipe(Effect.provide(Layer.merge(
    ToolsAcme.layer({ zone: "UTC" }),
    TestAgents.layer({
      model: [...calls.map((args) => ModelScripted.toolCall("current_time", args)), ModelScripted.text("Done.")]
    })
  )))

describe("current_time", () => {
  it.effect("tells the time in the zone of the settings, or in another", () =>
    Effect.gen(function*() {
      const [here = "", there = ""] = yield* asked({}, { zone: "Asia/Tokyo" })
      assert.include(here, "1970-01-01T00:00:00.000")
      assert.include(there, "1970-01-01T09:00:00.000")
    }))

  it.effect("tells the model of a zone that is not there, and of arguments that are not right", () =>
    Effect.gen(function*() {
      const [none = "", wrong = ""] = yield* asked({ zone: "Atlantis" }, { zone: 7 })
      assert.include(none, "There is no time zone Atlantis")
      assert.include(wrong, "Error")
    }))
})
`
}
