/** What differs from kind to kind. All texts are written for the name `acme`, and `Acme` in the names of modules. */
export interface Template {
  /** The module with the Layer. */
  readonly module: string
  readonly description: string
  /** What has to be set for its Layer to be built, as code. */
  readonly settings: string
  readonly source: string
  readonly extension: string
  readonly testName: string
  readonly test: string
}

/** The same for all kinds: the extension by its name. */
export const extensionTest = `/** The extension as an operator has it: by its name, with its settings. */
import { assert, it } from "@effect/vitest"
import * as Extension from "agent-layers/services/Extension"
import { Effect, Layer, Result } from "effect"
import manifest from "../package.json" with { type: "json" }
import extension from "../src/extension.ts"

const { kind, name } = extension
const settings = @SETTINGS@

it("is one, and says what the manifest says", () => {
  assert.isTrue(Result.isSuccess(Extension.validate(extension, name)))
  assert.strictEqual(Extension.compatibility(extension)._tag, "Compatible")
  const [listed] = manifest.agentLayers.extensions
  assert.deepInclude(listed, { kind, name, description: extension.description })
  assert.strictEqual(manifest.version, extension.version)
  assert.strictEqual(manifest.peerDependencies["agent-layers"], extension.compatibleWith)
})

it.live("is chosen by name, and built", () =>
  Effect.gen(function*() {
    const registry = yield* Extension.makeRegistry()
    yield* registry.register(extension)
    yield* registry.configure(kind, { use: name, settings })
    yield* Layer.build(registry.layer(kind))
    assert.deepStrictEqual((yield* registry.running).map(({ use }) => use), [name])
  }))
`
