/** The mission, rows on extensions: registered, discovered, configured, checked, degraded, tested. */
import { assert, describe, it } from "@effect/vitest"
import { Agent, ModelScripted, Runner, Session, SessionMemory } from "agent-layers"
import { Configuration, Extension, Extensions, Health, Setting } from "agent-layers/extensions"
import { TestAgents, Traces } from "agent-layers/testing"
import { ConfigProvider, Effect, Layer, Logger, Result } from "effect"
import { makeFolder, manifestOf, peersIn, run, sessionModule } from "../run/extensions/project.ts"

const common = { version: "1.0.0", compatibleWith: "^0.1.0", description: "A store." }

const notes = Extension.make({
  ...common,
  kind: "session",
  name: "notes",
  config: {
    folder: Setting.text("Where notes are kept."),
    key: Setting.secret("What opens them.")
  },
  layer: () => SessionMemory.layerWith({})
})

const greets = Effect.flatMap(Session.Session, (session) =>
  Effect.andThen(
    session.saveItems("ada", [{ type: "message", role: "user", content: "hi" }]),
    Effect.map(session.loadItems("ada"), ({ items }) => items.length)
  ))

describe("Registration", () => {
  it.effect("register: an extension is there while its Layer is, in one registry and no other", () =>
    Effect.gen(function*() {
      const registry = yield* Extension.ExtensionRegistry
      const other = yield* Extension.makeRegistry()
      const names = Effect.map(registry.list, (list) => list.map(({ name }) => name))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Layer.build(Extension.register(notes))
        assert.deepStrictEqual(yield* names, ["notes"])
        assert.deepStrictEqual(yield* other.list, [])
        yield* registry.configure("session", { use: "notes", settings: { folder: "/tmp", key: "open sesame" } })
        assert.notInclude(JSON.stringify(yield* registry.settings("session")), "sesame")
        assert.strictEqual(yield* Effect.provide(greets, registry.layer("session")), 1)
      }))
      assert.deepStrictEqual(yield* names, [])
    }).pipe(Effect.scoped, Effect.provide(Extension.layerRegistry())))
})

describe("Discovery", () => {
  it("direct dependencies: those that say so are listed, and imported when they are chosen", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": { name: "app", type: "module", dependencies: { "acme-store": "*" } },
      "node_modules/acme-store/package.json": manifestOf("acme-store", [{
        kind: "session",
        name: "acme",
        entry: "./extension",
        description: "A store."
      }]),
      "node_modules/acme-store/extension.js": sessionModule("acme")
    })
    const listed = run<ReadonlyArray<string>>(
      folder,
      `answer(Effect.gen(function*() {
        const registry = yield* Extensions.makeRegistry({ root })
        return (yield* registry.list).filter(({ origin }) => origin === "acme-store").map(({ name }) => name)
      }))`
    )
    assert.deepStrictEqual([listed.answer, listed.stderr], [["acme"], ""])
    const used = run<boolean>(
      folder,
      `answer(Session.Session.pipe(
        Effect.map(({ capabilities }) => capabilities.versions),
        Effect.provide(Extensions.layer({ session: { use: "acme", settings: { url: "x" } } }, { root }))
      ))`
    )
    assert.deepStrictEqual([used.answer, used.stderr.trim()], [true, "imported acme"])
  })
})

describe("Configuration", () => {
  const config = Configuration.define({ session: { use: "memory", wrap: ["cached", "compressed", "encrypted"] } })

  it.effect("file and environment: a backend and its decorators, with keys from the environment", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* greets, 1)
      assert.isTrue((yield* Session.Session).capabilities.sealed)
    }).pipe(
      Effect.provide(Extensions.layer(config)),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
        env: { AGENT_LAYERS_SESSION_ENCRYPTED_KEYS: `2026:${Buffer.from("k".repeat(32)).toString("base64")}` }
      })))
    ))

  it.effect("mistakes: all are told at once, with the nearest name and what to do", () =>
    Effect.gen(function*() {
      const wrong: Configuration.Config = { session: { use: "memroy", wrap: ["encypted"] }, model: "openia" }
      const { message } = yield* Effect.flip(Effect.scoped(Layer.build(Extensions.layer(wrong))))
      for (const name of ["memory", "encrypted", "openai"]) assert.include(message, `"${name}"`)
    }))
})

describe("Compatibility", () => {
  it("Extension.compatibility: a range and a version say whether, and what to do", () => {
    const tag = (compatibleWith: string, version: string) =>
      Extension.compatibility({ ...notes, compatibleWith }, version)._tag
    assert.deepStrictEqual(
      [
        tag("^0.1.0", "0.1.9"),
        tag("^0.1.0", "0.2.0"),
        tag("^0.1.0", "0.1.0-beta.1"),
        tag(">=0.1.0-beta.1", "0.1.0-beta.2")
      ],
      ["Compatible", "Incompatible", "Incompatible", "Compatible"]
    )
    const refused = Extension.compatibility(notes, "2.0.0")
    if (refused._tag !== "Incompatible") return assert.fail("2.0.0 is not in ^0.1.0")
    assert.deepStrictEqual([refused.required, refused.found], ["^0.1.0", "2.0.0"])
    assert.isNotEmpty(refused.doNext)
  })

  it("Extension.validate: what is no extension is told by the member that is wrong", () => {
    const checked = Extension.validate({ ...notes, layer: "layer" }, "session \"notes\" of acme")
    assert.isTrue(Result.isFailure(checked))
    assert.include(String(Result.isFailure(checked) && checked.failure.message), "layer")
  })
})

describe("Degradation", () => {
  const down = Extension.make({
    ...common,
    kind: "session",
    name: "down",
    config: {},
    layer: () => Layer.effect(Session.Session, Effect.die(new Error("nobody answers")))
  })
  const store = (required: boolean) =>
    Extensions.layer({ session: { use: "down", fallback: "memory", required } }, { extensions: [down] })

  it.effect("fallback: another store serves, which is logged once and shows in health", () => {
    const lines: Array<string> = []
    return Effect.gen(function*() {
      assert.strictEqual(yield* greets, 1)
      const { layers, status } = yield* (yield* Health.Health).check
      assert.strictEqual(status, "degraded")
      assert.deepInclude(layers.find(({ kind }) => kind === "session"), { use: "memory", insteadOf: "down" })
      assert.lengthOf(lines.filter((line) => line.includes("serves instead of")), 1)
    }).pipe(
      Effect.provide(store(false)),
      Effect.provide(Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))]))
    )
  })

  it.effect("required: nothing else serves, and the error says which extension failed and why", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(store(true))))
      assert.include(error.message, "down")
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("Testing", () => {
  it.effect("TestAgents.layer: all doubles at once, with assertions about what happened", () =>
    Effect.gen(function*() {
      const { finalOutput } = yield* Runner.run(Agent.make({ name: "clerk" }), "Hi", { conversationId: "c" })
      assert.strictEqual(finalOutput, "Hello.")
      yield* Traces.expectSpan("invoke_agent clerk", { outcome: "succeeded" })
    }).pipe(Effect.provide(TestAgents.layer({ model: [ModelScripted.text("Hello.")] }))))
})
