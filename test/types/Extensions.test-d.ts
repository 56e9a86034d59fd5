import { describe, expectTypeOf, it } from "@effect/vitest"
import {
  Configuration,
  Extension,
  type ExtensionError,
  Extensions,
  type Health,
  Setting
} from "agent-layers/extensions"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as McpServer from "agent-layers/services/McpServer"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Session from "agent-layers/services/Session"
import { Context, type Duration, Effect, Layer, type Redacted } from "effect"

class Other extends Context.Service<Other, string>()("test/Other") {}
class Files extends McpServer.Service<Files>()("files") {}

declare const memory: Layer.Layer<Session.Session>
declare const over: Layer.Layer<Session.Session, "failed", Session.Session>
declare const asking: Layer.Layer<Session.Session, never, Session.Session | ModelProvider.ModelProvider>
declare const other: Layer.Layer<Session.Session, never, Other>

const common = { version: "1.0.0", compatibleWith: "^0.1.0", description: "For a test.", config: {} } as const

type Always = Extension.ExtensionRegistry | Health.Health

describe("Extension.make", () => {
  it("gives a layer its settings as they are read", () => {
    Extension.make({
      ...common,
      kind: "memory",
      name: "acme",
      config: {
        url: Setting.secret("Where."),
        name: Setting.text("Who.", { optional: true }),
        size: Setting.integer("How large.", { default: 3 }),
        mode: Setting.choice(["a", "b"], "Which."),
        time: Setting.duration("How long.", { default: "1 second" })
      },
      layer: (settings, place) => {
        expectTypeOf(settings.url).toEqualTypeOf<Redacted.Redacted<string>>()
        expectTypeOf(settings.name).toEqualTypeOf<string | undefined>()
        expectTypeOf(settings.size).toEqualTypeOf<number>()
        expectTypeOf(settings.mode).toEqualTypeOf<"a" | "b">()
        expectTypeOf(settings.time).toExtend<Duration.Input>()
        expectTypeOf(place.of("archive")).toEqualTypeOf<Layer.Layer<Session.Session, ExtensionError.ExtensionError>>()
        return memory
      }
    })
  })

  it("refuses what nobody provides, and what does not provide the service", () => {
    // @ts-expect-error Other is no service that extensions can need
    Extension.make({ ...common, kind: "session", name: "x", layer: () => other })
    // @ts-expect-error it requires the service that it provides: that is a decorator
    Extension.make({ ...common, kind: "session", name: "x", layer: () => over })
    // @ts-expect-error it provides no Session
    Extension.make({ ...common, kind: "session", name: "x", layer: () => Layer.empty })
    // @ts-expect-error no such kind
    Extension.make({ ...common, kind: "sesion", name: "x", layer: () => memory })
    // @ts-expect-error a toolkit is missing
    Extension.make({ ...common, kind: "tool", name: "x", layer: () => Layer.empty })
  })

  it("lets a decorator require what it decorates, and what it says that it needs", () => {
    Extension.decorator({ ...common, kind: "session", name: "x", layer: () => over })
    Extension.decorator({ ...common, kind: "session", name: "x", needs: ["model"], layer: () => asking })
    // @ts-expect-error it does not say that it needs a model
    Extension.decorator({ ...common, kind: "session", name: "x", layer: () => asking })
    // @ts-expect-error a tracer registers itself; there is nothing to decorate
    Extension.decorator({ ...common, kind: "tracer", name: "x", layer: () => Layer.empty })
  })
})

describe("Extensions.layer", () => {
  it("gives what the configuration has", () => {
    expectTypeOf(Extensions.layer({ session: "memory", model: { use: "openai" } })).toEqualTypeOf<
      Layer.Layer<Session.Session | ModelProvider.ModelProvider | Always, ExtensionError.ExtensionError>
    >()
    expectTypeOf(Extensions.layer({ memory: "memory" })).toEqualTypeOf<
      Layer.Layer<Session.Session | Always, ExtensionError.ExtensionError>
    >()
    expectTypeOf(Extensions.layer(Configuration.define({ tracer: "console" }))).toEqualTypeOf<
      Layer.Layer<Always, ExtensionError.ExtensionError>
    >()
  })

  it("gives of a configuration that is read what the program says it needs", () => {
    expectTypeOf(Extensions.layer(Configuration.load())).toEqualTypeOf<
      Layer.Layer<Always, ExtensionError.ExtensionError>
    >()
    expectTypeOf(Extensions.layer(Configuration.load(), { needs: [Session.Session, Files] })).toEqualTypeOf<
      Layer.Layer<Session.Session | Files | Always, ExtensionError.ExtensionError>
    >()
  })

  it("carries a run with tools that are known at run time only", () => {
    const program = Effect.gen(function*() {
      const toolkit = yield* Extensions.toolkit
      const agent = Agent.make({ name: "a", toolkit })
      return (yield* Runner.run(agent, "hi")).finalOutput
    })
    const layer = Extensions.layerProject({ needs: [ModelProvider.ModelProvider] })
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<
      ModelProvider.ModelProvider | Extension.ToolInstance | Extension.ExtensionRegistry
    >()
    expectTypeOf(Effect.provide(program, layer)).toExtend<Effect.Effect<string, unknown>>()
  })

  it("refuses keys that there are not", () => {
    // @ts-expect-error a typo
    Extensions.layer({ session: "memory", mdoel: "openai" } satisfies Configuration.Config)
    // @ts-expect-error `use` is missing
    Extensions.layer({ session: { settings: {} } })
  })
})
