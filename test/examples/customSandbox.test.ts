/** The sandbox of examples/custom-sandbox.ts keeps the laws of Sandbox. */
import { assert, describe, it } from "@effect/vitest"
import * as Sandbox from "agent-layers/services/Sandbox"
import { Law, SandboxLaws } from "agent-layers/testing"
import { Context, Effect, Layer } from "effect"
import { Boxes, SandboxBoxes } from "../../examples/custom-sandbox.ts"

const guarantees = {
  fileSystem: false,
  network: false,
  environment: false,
  processes: false,
  memory: false,
  cpu: false,
  kernel: false,
  identity: false
}
const client = SandboxBoxes.pipe(Layer.provide(Boxes.layer))
const subject: SandboxLaws.SandboxSubject = {
  open: Effect.map(Layer.build(Layer.fresh(client)), Context.get(Sandbox.Sandbox)),
  guarantees,
  hasShell: false
}

describe("the sandbox of an example", () => {
  for (const law of SandboxLaws.all.filter((law) => law.missing?.(subject) === undefined)) {
    it.live(law.name, () =>
      Effect.gen(function*() {
        const outcome = yield* Law.verify(law, subject)
        assert.strictEqual(outcome._tag, "Held", outcome._tag === "Broken" ? outcome.report : "")
      }))
  }
})
