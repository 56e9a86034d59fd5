/**
 * What the agents of the scenarios are made of. Every handler says in `Ran` what it did.
 */
import { type Item, ModelScripted } from "agent-layers"
import { Effect, Layer, Schema } from "effect"
import { Prompt, Tool, Toolkit } from "effect/ai"
import * as support from "../support.ts"

export const { Look, Pay } = { Look: support.kit.tools.look, Pay: support.kit.tools.pay }

export const Add = Tool.make("add", {
  description: "Adds two numbers",
  parameters: Schema.Struct({ a: Schema.Number, b: Schema.Number }),
  success: Schema.Number
})
/** Fails for the key `absent`. */
export const Find = Tool.make("find", {
  parameters: Schema.Struct({ key: Schema.String }),
  success: Schema.String,
  failure: Schema.Struct({ missing: Schema.String })
})
export const Wait = Tool.make("wait", { parameters: Schema.Struct({ ms: Schema.Number }), success: Schema.String })
/** Dies. */
export const Bomb = Tool.make("bomb", { success: Schema.String })
/** Interrupts itself. */
export const Quit = Tool.make("quit", { success: Schema.String })
/** Never ends. */
export const Hang = Tool.make("hang", { success: Schema.String })
/** Answers with a text and an image. */
export const Draw = Tool.make("draw", {
  success: Schema.String,
  toModelOutput: (text: string) => [
    Prompt.textPart({ text }),
    Prompt.filePart({ mediaType: "image/png", data: new Uint8Array([1, 2, 3]) })
  ]
})
/** Tells three times how far it is. */
export const Count = Tool.make("count", { success: Schema.Number })
/** Its parameters are a JSON Schema, not a Schema. */
export const Raw = Tool.dynamic("raw", {
  parameters: { type: "object", properties: { q: { type: "string" } }, required: ["q"] },
  success: Schema.Unknown
})

const all = Toolkit.make(Add, Find, Wait, Bomb, Quit, Hang, Draw, Count, Raw)

export const toolHandlers = Layer.merge(
  support.handlers,
  all.toLayer(support.Ran.use((list) => {
    const did = (what: string) => Effect.sync(() => void list.push(what))
    return Effect.succeed({
      add: ({ a, b }: { readonly a: number; readonly b: number }) => Effect.as(did(`add ${a} ${b}`), a + b),
      find: ({ key }: { readonly key: string }) =>
        Effect.andThen(
          did(`find ${key}`),
          key === "absent" ? Effect.fail({ missing: key }) : Effect.succeed(`value of ${key}`)
        ),
      wait: ({ ms }: { readonly ms: number }) =>
        did(`begin ${ms}`).pipe(
          Effect.andThen(Effect.sleep(ms)),
          Effect.andThen(did(`end ${ms}`)),
          Effect.onInterrupt(() => did(`interrupted ${ms}`)),
          Effect.as(`waited ${ms}`)
        ),
      bomb: () => Effect.andThen(did("bomb"), Effect.die(new Error("boom"))),
      quit: () => Effect.andThen(did("quit"), Effect.interrupt),
      hang: () => Effect.andThen(did("hang"), Effect.onInterrupt(Effect.never, () => did("hang interrupted"))),
      draw: () => Effect.as(did("draw"), "a dot"),
      count: (_: unknown, { preliminary }: { readonly preliminary: (n: number) => Effect.Effect<void> }) =>
        did("count").pipe(
          Effect.andThen(preliminary(1)),
          Effect.andThen(preliminary(2)),
          Effect.as(3)
        ),
      raw: (params: unknown) => Effect.as(did(`raw ${JSON.stringify(params)}`), { got: params })
    })
  }))
)

export interface Call {
  readonly name: string
  readonly arguments?: unknown
  readonly callId: string
}

export const call = (name: string, args: unknown, callId: string): Call => ({ name, arguments: args, callId })

export const calls = (...some: ReadonlyArray<Call>): ModelScripted.Answer => ModelScripted.calls(some)

export const says = (text: string): ModelScripted.Answer => ModelScripted.text(text)

export const add = (a: number, b: number, callId: string): Call => call("add", { a, b }, callId)

export const find = (key: string, callId: string): Call => call("find", { key }, callId)

export const wait = (ms: number, callId: string): Call => call("wait", { ms }, callId)

export const { look, note, pay } = support

const check = "It may have had an effect: check before you call it again."

/** The output of a call that was cut short with its turn, as it is stored. */
export const unfinished = (name: string, callId: string): string =>
  `${callId} = Error: Tool "${name}" was interrupted before it finished. ${check}`

/** The output of a call whose handler died. */
export const brokenOff = (name: string, callId: string): string =>
  `${callId} = Error: Tool "${name}" broke off before it finished. ${check}`

/** Runs at the provider. */
export const Search = Tool.providerDefined({
  id: "openai.web_search",
  customName: "Search",
  providerName: "web_search",
  args: Schema.Struct({}),
  success: Schema.String
})

export const searched: Item.Item = {
  type: "web_search_call",
  id: "ws_1",
  status: "completed",
  action: { type: "search", query: "x" }
}
