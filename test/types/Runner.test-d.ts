import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Agent from "agent-layers/run/Agent"
import type { RunOptions, StreamOptions } from "agent-layers/run/RunConfig"
import type { RunError } from "agent-layers/run/RunError"
import type { RunEvent } from "agent-layers/run/RunEvent"
import * as Runner from "agent-layers/run/Runner"
import type { RunResult } from "agent-layers/run/RunResult"
import type { ModelError } from "agent-layers/services/ModelError"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Session from "agent-layers/services/Session"
import type { SessionError } from "agent-layers/services/SessionError"
import { ToolContext } from "agent-layers/services/ToolContext"
import { Context, Effect, Layer, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"

class Weather extends Context.Service<Weather, { readonly at: (city: string) => Effect.Effect<string> }>()(
  "test/Weather"
) {}
class Profile extends Context.Service<Profile, { readonly name: string }>()("test/Profile") {}
class NoProfile extends Schema.TaggedError<NoProfile>()("NoProfile", {}) {}
class Unit extends Context.Service<Unit, { readonly celsius: boolean }>()("test/Unit") {}

const GetWeather = Tool.make("get_weather", {
  description: "Tells the weather",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.String,
  failure: Schema.Struct({ reason: Schema.String }),
  dependencies: [Unit]
})
const Kit = Toolkit.make(GetWeather)
const KitHandlers = Kit.toLayer(Effect.gen(function*() {
  const weather = yield* Weather
  return {
    get_weather: ({ city }) =>
      Effect.gen(function*() {
        yield* ToolContext
        return yield* weather.at(city)
      })
  }
}))

const plain = Agent.make({ name: "plain" })
const structured = Agent.make({
  name: "structured",
  output: Schema.Struct({ n: Schema.Number, at: Schema.optionalKey(Schema.DateFromString) })
})
const equipped = Agent.make({
  name: "equipped",
  instructions: Effect.gen(function*() {
    const profile = yield* Profile
    if (profile.name === "") return yield* new NoProfile()
    return `You help ${profile.name}`
  }),
  toolkit: Kit
})

declare const anySession: Session.Session["Service"]
declare const provider: ModelProvider.ModelProvider["Service"]

describe("the type of a run", () => {
  it("of a plain agent needs a model only, and answers with text", () => {
    expectTypeOf(Runner.run(plain, "hi")).toEqualTypeOf<
      Effect.Effect<RunResult<string>, RunError | ModelError, ModelProvider.ModelProvider>
    >()
  })

  it("with a conversation needs a Session and may fail with its error", () => {
    expectTypeOf(Runner.run(plain, "hi", { conversationId: "c" })).toEqualTypeOf<
      Effect.Effect<
        RunResult<string>,
        RunError | ModelError | SessionError,
        ModelProvider.ModelProvider | Session.Session
      >
    >()
  })

  it("has the output's decoded type", () => {
    expectTypeOf(Runner.run(structured, "hi")).toEqualTypeOf<
      Effect.Effect<
        RunResult<{ readonly n: number; readonly at?: Date }>,
        RunError | ModelError,
        ModelProvider.ModelProvider
      >
    >()
  })

  it("collects the requirements of instructions, handlers and tools, and the errors of instructions", () => {
    expectTypeOf(Runner.run(equipped, "hi", { conversationId: "c" })).toEqualTypeOf<
      Effect.Effect<
        RunResult<string>,
        RunError | ModelError | SessionError | NoProfile,
        ModelProvider.ModelProvider | Session.Session | Profile | Unit | Tool.Handler<"get_weather">
      >
    >()
  })

  it("loses what Layers provide, and nothing else", () => {
    const wired = Runner.run(equipped, "hi", { conversationId: "c" }).pipe(
      Effect.provide(KitHandlers),
      Effect.provideService(Profile, { name: "Ada" })
    )
    expectTypeOf<Effect.Services<typeof wired>>().toEqualTypeOf<
      ModelProvider.ModelProvider | Session.Session | Unit | Weather
    >()
    const complete = wired.pipe(
      Effect.provideService(Weather, { at: () => Effect.succeed("sunny") }),
      Effect.provideService(Unit, { celsius: true }),
      Effect.provide(Layer.succeed(Session.Session, anySession)),
      Effect.provide(Layer.succeed(ModelProvider.ModelProvider, provider))
    )
    expectTypeOf<Effect.Services<typeof complete>>().toEqualTypeOf<never>()
  })

  it("takes options that may name a conversation, or may not", () => {
    const passOn = <Output, E, R>(agent: Agent.Agent<Output, E, R>, options: RunOptions) =>
      Runner.run(agent, "hi", options)
    expectTypeOf(passOn(plain, {})).toEqualTypeOf<
      Effect.Effect<
        RunResult<string>,
        RunError | ModelError | SessionError,
        ModelProvider.ModelProvider | Session.Session
      >
    >()
    const passOnStream = (options: StreamOptions) => Runner.stream(plain, "hi", options)
    expectTypeOf<Stream.Services<ReturnType<typeof passOnStream>>>().toEqualTypeOf<
      ModelProvider.ModelProvider | Session.Session
    >()
    expectTypeOf(Runner.run(plain, "hi", { maxTurns: 3, conversationId: undefined })).toEqualTypeOf<
      Effect.Effect<RunResult<string>, RunError | ModelError, ModelProvider.ModelProvider>
    >()
  })

  it("is the same for a stream", () => {
    expectTypeOf(Runner.stream(equipped, "hi")).toEqualTypeOf<
      Stream.Stream<
        RunEvent<string>,
        RunError | ModelError | NoProfile,
        ModelProvider.ModelProvider | Profile | Unit | Tool.Handler<"get_weather">
      >
    >()
    expectTypeOf(Runner.stream(structured, "hi", { conversationId: "c" })).toEqualTypeOf<
      Stream.Stream<
        RunEvent<{ readonly n: number; readonly at?: Date }>,
        RunError | ModelError | SessionError,
        ModelProvider.ModelProvider | Session.Session
      >
    >()
  })
})

describe("mistakes that do not compile", () => {
  it("a missing handler layer", () => {
    const run = Runner.run(Agent.make({ name: "a", toolkit: Toolkit.make(Tool.make("ping")) }), "hi").pipe(
      Effect.provideService(ModelProvider.ModelProvider, provider)
    )
    // @ts-expect-error Handler<"ping"> is not provided
    void (() => Effect.runPromise(run))
  })

  it("a missing Session", () => {
    const run = Runner.run(plain, "hi", { conversationId: "c" }).pipe(
      Effect.provideService(ModelProvider.ModelProvider, provider)
    )
    // @ts-expect-error Session is not provided
    void (() => Effect.runPromise(run))
  })

  it("a wrong output type", () => {
    // @ts-expect-error n is a number
    void Effect.map(Runner.run(structured, "hi"), (result): string => result.finalOutput.n)
  })

  it("a handler with the wrong result, and an unknown option", () => {
    // @ts-expect-error the success schema is a string
    void Kit.toLayer({ get_weather: () => Effect.succeed(1) })
    // @ts-expect-error no such option
    void Runner.run(plain, "hi", { maxTurn: 3 })
  })
})

describe("a model request", () => {
  it("carries all that a call may need", () => {
    expectTypeOf<keyof ModelProvider.ModelRequest>().toEqualTypeOf<
      | "instructions"
      | "input"
      | "settings"
      | "tools"
      | "outputSchema"
      | "handoffs"
      | "tracing"
      | "rawEvents"
      | "previousResponseId"
      | "conversationId"
      | "prompt"
    >()
    expectTypeOf<ModelProvider.ModelRequest["input"]>().toExtend<string | ReadonlyArray<unknown>>()
    expectTypeOf<string>().toExtend<ModelProvider.ModelRequest["input"]>()
  })
})

describe("a Layer", () => {
  it("of a missing part is what the compiler names", () => {
    expectTypeOf(KitHandlers).toEqualTypeOf<Layer.Layer<Tool.Handler<"get_weather">, never, Weather>>()
  })
})
