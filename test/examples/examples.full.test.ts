/** Each example ends within 5 seconds without a key and prints what it is there to prove. */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { type Ended, ended, names, root, spawnExample } from "./run.ts"

/** What each example has to print, in this order. */
const proofs: Record<string, ReadonlyArray<string | RegExp>> = {
  hello: ["A Layer is a recipe for a service.", "(1 turn, 15 tokens)"],
  tools: [
    `order_status({"order":"A-17"})`,
    "-> Error: There is no order A-17",
    `order_status({"order":"A-71"})`,
    `-> {"status":"shipped"}`,
    `insert({"table":"notes"`,
    `-> {"inserted":1}`,
    `-> Error: {"_tag":"SqlToolFailure","reason":"InvalidSql"`,
    `-> {"columns":["text"],"rows":[["A-71 has shipped"]]}`,
    `-> clerk will remind Ada, as asked in turn 6: {"about":"A-71","days":2}`,
    "You mean A-71: it has shipped."
  ],
  "structured-output": ["Ship it, due 2026-11-27T17:00:00.000Z, high priority", `no task in "{"title":"Hello"}"`],
  streaming: ["| A Layer waits,", "| of many parts.", "completed after", "left after 1 delta: 1 model request aborted"],
  conversation: ["I am Ada.", "Hello!", "Who am I?", "You are Ada.", "version 1, then 2"],
  "custom-layer": [
    /^memory: \d\d laws hold, \d+ not shown, 0 broken/,
    /^audited: \d\d laws hold, \d+ not shown, 0 broken/m,
    `stored 2 items in "ada"`
  ],
  tracing: [
    /^trace forecast +group ada$/m,
    /^agent forecaster .*70 in, 14 out$/m,
    /^├─ turn 1 .*10 in, 5 out$/m,
    /^│ {2}├─ tool weather +\+/m,
    /^│ {2}└─ tool weather .*told the model of a failure$/m,
    /^└─ turn 2 .*60 in, 9 out$/m,
    "7 spans, in memory too"
  ],
  "custom-tracer": [
    "greeter: 15 tokens",
    `{"_tag":"TraceStart","trace":{"workflowName":"greeter"`,
    `"content":"Hello, my password is (redacted)"`,
    `{"_tag":"TraceEnd","trace":{"workflowName":"greeter"`,
    "no-content: 15 tokens",
    "0 spans dropped",
    /"_tag":"Generation","provider":"scripted","model":"scripted","usage":.*"workflowName":"no-content"/
  ],
  "custom-model": [
    "In Oslo it is cold. (2 requests, 50 tokens)",
    "| I look. \n| In Oslo it is \n| cold.\n",
    "seat 7 is free"
  ],
  models: [
    "default: I am up again. (requests: 2)",
    "log: A model failed, the next one is asked: scripted (scripted): Quota exceeded",
    "cloud/: I am llama3.3, at home. (requests: 2)",
    "local/qwen3: I am qwen3, at home. (requests: 1)",
    `router: Unknown model: no provider is called "mars" (in "mars/rover"); there are: cloud/…, local/…`
  ],
  "two-stacks": [
    `north: "large of north: that your kettle leaks.", 4 items in conversation "ada"`,
    `south: "large of south: nothing yet.", 2 items in conversation "ada"`
  ],
  "custom-session": ["I am Ada. Hello! (version 1)", "Who am I? You are Ada. (version 2)"],
  "custom-sandbox": [
    "Tea was to be bought. It is.",
    "sleep 60: exit code 124, timed out: true",
    `{"backend":"boxes","id":"box-1","location":"boxes/box-1"}`,
    "Resumed: notes/a.txt (8 bytes), notes/b.txt (14 bytes)"
  ],
  sandbox: [
    "the sandbox keeps commands from the network: false",
    "shell(",
    "exit code 0",
    `read_file({"path":"largest.txt"})\n42\n`,
    "the workspace is still there: false"
  ],
  "test-doubles": ["the server was asked, and said no", "a real model is refused", "8 checks hold"],
  server: [
    "Layers built",
    /POST \/runs: \{"answer":"One word at a time\.","conversation":"conv_[\w-]+"\}/,
    /POST \/runs\/stream: RunStarted TurnStarted (TextDelta ){5}ItemDone Committed Completed/,
    "a client left after the first TextDelta: its model request was aborted"
  ],
  handoffs: [
    `agent1 -->|"transfer_to_refunds"| agent2`,
    "refund asked for: it leaks",
    "refunds: 42 euros back for A-71",
    "calendar: see you on 2026-11-27T15:00:00.000Z",
    "desk: You are welcome."
  ],
  approval: [
    /^paid 5 to Eve\n2 wait\naltered: NotAuthentic$/m,
    `pay({"to":"Ada","euros":80})? yes`,
    `pay({"to":"Bob","euros":90})? no`,
    /^paid 80 to Ada\n {2}-> paid\n {2}-> paid\n {2}-> Error: .* Bob is paid already$/m,
    "Eve and Ada are paid; Bob was already."
  ],
  guardrails: [
    /^ {2}input no secrets: passed\n {2}toolOutput no cards: rejected\n {2}output polite: passed$/m,
    "Who is a customer? We have one: Ada.",
    `What is her password? Guardrail "no secrets" tripped on the input of agent "clerk"`,
    `Who am I? Guardrail "polite" tripped on the output of agent "clerk"`
  ],
  mcp: [
    "the server lets through: 10 tools",
    "the model sees: read_text_file, list_directory",
    "-> Error: Access denied",
    "-> A Layer waits, a recipe;",
    "A Layer waits.",
    "write_file: UnknownTool"
  ],
  stack: [
    `the program sees: 4 items, the last is "Ada."`,
    "the store sees: sealed sealed sealed sealed",
    "merged: ",
    "Service not found: agent-layers/services/Session",
    "one value over two stores: 0 and 2 items",
    "the same value in Session.wrap: 1 and 1 items"
  ],
  configured: [
    `The fallback "memory" serves instead of session "redis"`,
    "wrap[2] keys = <redacted> (environment)\nuse url = <redacted> (environment)",
    "health: degraded",
    "session: cached > compressed > encrypted > memory, instead of redis",
    "Nobody at home but me. (2 items, sealed: true)"
  ],
  everything: [
    "log: A model failed, the next one is asked: ",
    /^trace clerk +group ada$/m,
    /tool query[^]*tool get-sum[^]*handoff clerk -> coder[^]*sandbox unconfined exec/,
    "coder: The double of your orders is 84.",
    /^a batch of \d\d$/m,
    /^the collector was sent \d\d spans$/m
  ],
  "everything-doubles": [
    `-> {"columns":["euros"],"rows":[[40],[2]]}`,
    "-> It is 42.",
    "coder: The double of your orders is 84.",
    "the sandbox was asked for: expr 42",
    /^invoke_agent clerk$/m
  ],
  "openai-server": [
    "models: forecaster",
    "responses.create: It is 3 degrees in Oslo.",
    "responses.stream: It is |3 degrees |in Oslo., after true",
    "chat.completions.create: It is 3 degrees in Oslo.",
    "a stranger: 401 The API key is missing or wrong."
  ],
  embedded: [
    /In an Effect server:\nPOST \/agents\/runs: running\nheard, and left: RunStarted TurnStarted TextDelta$/m,
    "came back, and heard: TextDelta TextDelta TextDelta TextDelta ItemDone Committed Completed",
    "completed: One word at a time.\nthe conversation has 2 items",
    "In a plain Node server:",
    "completed: One word at a time."
  ]
}

/** On processors that others use too, an example gets its share of them. */
const limit = () => 5 * Math.max(1, os.loadavg()[0]! / os.availableParallelism())

/** A run that took too long gets two more: the load is an average of the last minute. */
const quickest = async (name: string): Promise<Ended> => {
  let best = await ended(spawnExample(name))
  for (let tries = 0; tries < 2 && best.seconds >= limit(); tries++) {
    const next = await ended(spawnExample(name))
    if (next.seconds < best.seconds) best = next
  }
  return best
}

describe("examples", () => {
  it("have a proof each", () => {
    assert.deepStrictEqual(Object.keys(proofs).sort(), names)
  })

  for (const name of names) {
    it(`${name} imports packages by name, and says which line to swap for a real model`, () => {
      const source = fs.readFileSync(path.join(root, "examples", `${name}.ts`), "utf8")
      for (const [, specifier] of source.matchAll(/\bfrom "([^"]+)"/g)) {
        assert.match(
          specifier ?? "",
          /^(agent-layers|effect|@effect\/platform-node)(\/|$)|^node:http$|^openai$|^\.\/everything\.ts$/
        )
      }
      // Doubles are its point.
      if (name.endsWith("-doubles")) return
      assert.match(source, /\/\/ With a key.*\n(?:\/\/ .*\n)*const \w+ = (?:ModelScripted|Layer)\./)
    })
  }

  for (const [name, proof] of Object.entries(proofs)) {
    it(`${name} prints its proof and ends within 5 seconds`, async () => {
      const { code, seconds, stderr, stdout } = await quickest(name)
      assert.strictEqual(code, 0, stderr)
      assert.strictEqual(stderr, "")
      let from = 0
      for (const part of proof) {
        const rest = stdout.slice(from)
        const at = typeof part === "string" ? rest.indexOf(part) : rest.search(part)
        assert.isAtLeast(at, 0, `${String(part)} after character ${from} of:\n${stdout}`)
        from += at
      }
      assert.isBelow(seconds, limit())
    }, 120_000)
  }
})
