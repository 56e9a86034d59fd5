/** What the analyst answers without a language model: its own agent, tools and model, in this process. */
import { assert, describe, it } from "@effect/vitest"
import * as SandboxUnconfined from "agent-layers/layers/sandbox/SandboxUnconfined"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as ToolsSandbox from "agent-layers/layers/tools/ToolsSandbox"
import * as Runner from "agent-layers/run/Runner"
import * as History from "agent-layers/services/History"
import * as Item from "agent-layers/services/Item"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Effect, Layer, Stream } from "effect"
import { Operator, Reader } from "../../../examples/analyst/agent.ts"
import * as ModelOffline from "../../../examples/analyst/offline/ModelOffline.ts"
import * as Tools from "../../../examples/analyst/tools.ts"
import { project } from "./analyst.ts"

const seen = Object.fromEntries(Object.entries(project).filter(([name]) => /^(?:README|package|src)/.test(name)))

const use = [
  "import {",
  "  type VersionConflict,",
  "  type Renamed as Other",
  "} from \"./errors.ts\"",
  "import type Renamed from \"./errors.ts\"",
  "export type VersionConflict = Other",
  "// TODO: tell VersionConflict the secret"
].join("\n")

const layer = Layer.mergeAll(Tools.layer, ToolsSandbox.layer).pipe(
  Layer.provide(
    Sandbox.layerSession({ files: { ...seen, "use.ts": use, "data.bin": new Uint8Array([0, 1, 2]), "a.b/x.ts": "" } })
  ),
  Layer.provide(SandboxUnconfined.layer()),
  Layer.merge(Layer.merge(ModelOffline.layer, SessionMemory.layer))
)

describe("rules", () => {
  it.layer(layer)((it) => {
    const cases: ReadonlyArray<readonly [question: string, ...answer: ReadonlyArray<string>]> = [
      [
        "What is this project?",
        "README.md says: Greets people by name, politely.",
        "package.json says: greeter 2.1.0. Politeness as a service",
        "It has 7 files, 564 bytes: 4 .ts, 1 .md, 1 .bin, 1 .json."
      ],
      ["summarise this", "It has 7 files"],
      ["How many files are there?", "7 files"],
      ["find the number of files", "7 files"],
      ["List .ts files", "4 files, 379 bytes: 4 .ts.", "- src/Greeter.ts", "- src/main.ts"],
      ["how many files are in src?", "2 files"],
      ["list the files in nowhere", "The tools could not tell:", "There is no \"nowhere\" in the workspace"],
      ["find \"Hello\"", "\"Hello\" stands in 2 lines; 6 files searched.", "- src/Greeter.ts:3  greet = "],
      ["search for a[b", "\"a[b\" stands in 0 lines"],
      ["Where is VersionConflict handled?", "\"VersionConflict\" stands in 3 lines"],
      ["where is \"VersionConflict\" used?", "\"VersionConflict\" stands in 3 lines"],
      ["find text secret", "\"secret\" stands in 1 line;", "- use.ts:7"],
      ["find all TODO comments", "\"TODO\" stands in 1 line;", "- use.ts:7"],
      ["find lines with the word TODO", "\"TODO\" stands in 1 line;"],
      ["find \"all TODO comments\"", "\"all TODO comments\" stands in 0 lines"],
      ["which files mention VersionConflict?", "\"VersionConflict\" stands in 3 lines"],
      [
        "Where is VersionConflict turned into an answer?",
        "\"VersionConflict turned into an answer\" stands nowhere.\n\"VersionConflict\" stands in 3 lines"
      ],
      ["find nothing of this sort", "stands in 0 lines; 6 files searched.\nPut what to find in quotes: find \"TODO\""],
      [
        "Where is VersionConflict defined?",
        "VersionConflict is defined here:\n- use.ts:6  export type VersionConflict ="
      ],
      ["Where is Renamed defined?", "Nothing here defines Renamed."],
      ["Where is Greeter defined?", "- src/Greeter.ts:2  export class Greeter {", "stands in 4 lines"],
      ["find the function $launch", "Nothing here defines $launch."],
      [
        "explain Greeter.ts",
        "src/Greeter.ts has 4 lines.",
        "says: Says hello to whoever comes.",
        "It defines Greeter."
      ],
      ["Explain ../etc/passwd.txt", "There is no file \"../etc/passwd.txt\" here."],
      ["show data.bin", "The tools could not tell:", "is not a text file"],
      ["what is in package.json?", "package.json says: greeter 2.1.0. Politeness as a service", "npm scripts: build"],
      ["run echo a > b; cat b; exit 3", "exit code 3", "[stdout]\na"],
      ["run exit 3", "exit code 3", "If it needed the network: without --unconfined, commands have none."],
      ["What did I ask before?", "You have asked nothing before"],
      ["why is the sky blue?", "Without a language model I cannot answer \"why is the sky blue?\"", "OPENAI_API_KEY"],
      ["", "Without a language model I cannot answer"]
    ]
    for (const [question, ...parts] of cases) {
      it.effect(`answer "${question}", run and streamed alike`, () =>
        Effect.gen(function*() {
          const { finalOutput, items } = yield* Runner.run(Operator, question)
          for (const part of parts) assert.include(finalOutput, part)
          assert.isTrue(History.isValid(items))
          const streamed = yield* Runner.stream(Operator, question).pipe(
            Stream.runFold(() => "", (text, event) => event._tag === "TextDelta" ? text + event.delta : text)
          )
          const withoutTimes = (text: string) => text.replaceAll(/[\d.]+ s\b/g, "")
          assert.strictEqual(withoutTimes(streamed), withoutTimes(finalOutput))
        }))
    }

    it.effect("a command needs a shell", () =>
      Effect.gen(function*() {
        const { finalOutput, newItems } = yield* Runner.run(Reader, "run ls")
        assert.include(finalOutput, "There is no shell in this start")
        assert.isFalse(newItems.some(Item.isFunctionCall))
      }))

    it.effect("a question about earlier ones is answered from the conversation", () =>
      Effect.gen(function*() {
        for (const question of ["one\nline", "two", "explain main.ts"]) {
          yield* Runner.run(Reader, question, { conversationId: "c" })
        }
        const { finalOutput } = yield* Runner.run(Reader, "What was my previous question?", { conversationId: "c" })
        assert.strictEqual(finalOutput, "Before this you asked:\n- explain main.ts\n- two\n- one line")
      }))

    it.effect("a request that is beyond rules is refused by the name of what is", () =>
      Effect.gen(function*() {
        const { getModel } = yield* ModelProvider.ModelProvider
        const model = yield* getModel()
        const error = yield* Effect.flip(model.respond({ input: "hi", previousResponseId: "resp_1" }))
        assert.deepInclude(error.reason, { _tag: "Unsupported", feature: "previousResponseId" })
      }))
  })
})
