import { assert, describe, it } from "@effect/vitest"
import { agentTools } from "./scenarios/agentTools.ts"
import { approvals } from "./scenarios/approvals.ts"
import { guardrails } from "./scenarios/guardrails.ts"
import { handoffs } from "./scenarios/handoffs.ts"
import { kept } from "./scenarios/kept.ts"
import { options } from "./scenarios/options.ts"
import type { Row } from "./scenarios/play.ts"
import { eightWays, play } from "./scenarios/play.ts"
import { sessions } from "./scenarios/sessions.ts"
import { streaming } from "./scenarios/streaming.ts"
import { toolCalls } from "./scenarios/toolCalls.ts"
import { turns } from "./scenarios/turns.ts"

const topics: Readonly<Record<string, ReadonlyArray<Row>>> = {
  turns,
  toolCalls,
  handoffs,
  guardrails,
  agentTools,
  approvals,
  streaming,
  options,
  kept,
  sessions
}

for (const [topic, rows] of Object.entries(topics)) {
  describe(`${topic}, over run and stream, two sessions, tracing on and off`, () => {
    for (const row of rows) it.effect(row.name, () => play(row))
  })
}

describe("the table", () => {
  it("has eight ways, and names its rows apart", () => {
    const names = Object.values(topics).flatMap((rows) => rows.map(({ name }) => name))
    assert.strictEqual(new Set(names).size, names.length)
    assert.isAtLeast(names.length, 60)
    assert.strictEqual(new Set(eightWays.map((way) => JSON.stringify(way))).size, 8)
  })
})
