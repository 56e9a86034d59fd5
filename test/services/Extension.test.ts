import { assert, describe, it } from "@effect/vitest"
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as Extension from "agent-layers/services/Extension"
import { ExtensionRegistry } from "agent-layers/services/Extension"
import * as ExtensionError from "agent-layers/services/ExtensionError"
import * as Item from "agent-layers/services/Item"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Session from "agent-layers/services/Session"
import * as SessionErrors from "agent-layers/services/SessionError"
import * as Setting from "agent-layers/services/Setting"
import { ConfigProvider, Context, Effect, Exit, Fiber, Layer, Logger, Redacted, Result, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../..", import.meta.url))

const common = { version: "1.0.0", compatibleWith: "^0.1.0", description: "For a test." } as const

const memory = Extension.make({
  ...common,
  kind: "session",
  name: "plain",
  config: {},
  layer: () => SessionMemory.layerWith({})
})

const acme = Extension.make({
  ...common,
  kind: "memory",
  name: "acme",
  config: {
    url: Setting.secret("Where it is.", { variable: "ACME_URL" }),
    maxItems: Setting.integer("How many.", { default: 10 }),
    timeout: Setting.duration("How long.", { optional: true }),
    mode: Setting.choice(["fast", "safe"], "Which way.", { default: "safe" }),
    tags: Setting.list("Some words.", { optional: true }),
    headers: Setting.secrets("Headers.", { optional: true })
  },
  layer: (settings) => {
    seen.push(settings)
    return SessionMemory.layerWith({})
  }
})

const seen: Array<unknown> = []

const recording = (name: string, log: Array<string>, role?: "reads" | "hides") =>
  Extension.decorator({
    ...common,
    kind: "session",
    name,
    role,
    config: {},
    layer: () =>
      Layer.effect(
        Session.Session,
        Effect.map(Session.Session, (inner) => ({
          ...inner,
          saveItems: (id, items, options) =>
            Effect.andThen(Effect.sync(() => log.push(name)), inner.saveItems(id, items, options))
        }))
      )
  })

const failing = (name: string, log: Array<string> = []) =>
  Extension.make({
    ...common,
    kind: "session",
    name,
    config: {},
    layer: () =>
      Layer.effect(
        Session.Session,
        Effect.acquireRelease(Effect.sync(() => log.push("opened")), () => Effect.sync(() => log.push("closed"))).pipe(
          Effect.andThen(
            Effect.fail(
              new SessionErrors.SessionError({
                backend: name,
                operation: "open",
                reason: new SessionErrors.Unavailable({
                  description: "127.0.0.1:1 refused the connection",
                  isOutcomeUnknown: false
                })
              })
            )
          )
        )
      )
  })

/** A registry with these extensions, in the scope of the test. */
const registryOf = Effect.fnUntraced(function*(...extensions: ReadonlyArray<Extension.Any>) {
  const registry = yield* Extension.makeRegistry({ version: "0.1.0" })
  for (const extension of extensions) yield* registry.register(extension)
  return registry
})

const environment = (env: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))

const reasonOf = <A, R>(effect: Effect.Effect<A, ExtensionError.ExtensionError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("Extension.compatibility", () => {
  const cases: ReadonlyArray<readonly [range: string, version: string, isCompatible: boolean]> = [
    ["^0.1.0", "0.1.0", true],
    ["^0.1.0", "0.1.9", true],
    ["^0.1.0", "0.2.0", false],
    ["^0.1.2", "0.1.1", false],
    ["^1.2.3", "1.9.0", true],
    ["^1.2.3", "2.0.0", false],
    ["~1.2.0", "1.2.9", true],
    ["~1.2.0", "1.3.0", false],
    [">=0.1.0 <0.3.0", "0.2.7", true],
    ["0.1.x || 0.3.x", "0.3.1", true],
    ["0.1.x || 0.3.x", "0.2.1", false],
    ["*", "9.9.9", true],
    // Prereleases: what leads to a version outside of the range is outside too.
    ["^0.1.0", "0.1.0-rc.1", false],
    ["^0.1.0", "0.1.1-beta.1", true],
    ["^0.1.0", "0.2.0-rc.1", false],
    [">=0.1.0 <0.2.0", "0.2.0-rc.1", false],
    ["^0.2.0-rc.1", "0.2.0-rc.1", true],
    ["^0.2.0-rc.1", "0.2.0-rc.3", true],
    ["^0.2.0-rc.2", "0.2.0-rc.1", false],
    ["^0.2.0-rc.1", "0.2.0", true],
    ["*", "1.0.0-alpha", true],
    ["^0.1.0", "0.1.5+build.7", true]
  ]
  for (const [compatibleWith, version, isCompatible] of cases) {
    it(`${compatibleWith} ${isCompatible ? "takes" : "refuses"} ${version}`, () => {
      const found = Extension.compatibility({ name: "acme", compatibleWith }, version)
      assert.strictEqual(found._tag, isCompatible ? "Compatible" : "Incompatible")
    })
  }

  it("says what is required, what was found and what to do", () => {
    assert.deepStrictEqual(Extension.compatibility({ name: "acme", compatibleWith: "^0.3.0" }, "0.1.0"), {
      _tag: "Incompatible",
      required: "^0.3.0",
      found: "0.1.0",
      doNext: `Install a newer agent-layers: npm install agent-layers@"^0.3.0"`
    })
    const old = Extension.compatibility({ name: "acme", compatibleWith: "^0.1.0" }, "2.0.0")
    assert.include(old._tag === "Incompatible" ? old.doNext : "", `newer version of "acme"`)
  })

  it("takes what is no range for incompatible", () => {
    const found = Extension.compatibility({ name: "acme", compatibleWith: "soon" }, "0.1.0")
    assert.include(found._tag === "Incompatible" ? found.doNext : "", `"^0.1.0"`)
  })

  it("compares with the version of the package", () => {
    const { version } = JSON.parse(fs.readFileSync(`${root}/package.json`, "utf8")) as { readonly version: string }
    assert.strictEqual(Extension.version, version)
  })
})

describe("Extension.make", () => {
  it("knows the other words for kinds", () => {
    assert.strictEqual(acme.kind, "session")
    assert.strictEqual(Extension.kindOf("model_provider"), "model")
    assert.isTrue(Extension.isExtension(acme))
    assert.isFalse(Extension.isExtension({ ...common, kind: "session" }))
  })
})

describe("validate", () => {
  const whole = { ...memory }
  const invalid: ReadonlyArray<readonly [name: string, value: unknown, member: string, found: string]> = [
    ["nothing", undefined, "default export", "missing"],
    ["a function", () => memory, "default export", "a function"],
    ["a kind that is none", { ...whole, kind: "sesion" }, "kind", `"sesion"`],
    ["a name with a space", { ...whole, name: "my store" }, "name", `"my store"`],
    ["no version", { ...whole, version: undefined }, "version", "missing"],
    ["a range that is none", { ...whole, compatibleWith: "new" }, "compatibleWith", `"new"`],
    ["no text", { ...whole, description: " " }, "description", `" "`],
    ["a layer that is a Layer", { ...whole, layer: SessionMemory.layer }, "layer", "a Layer"],
    [
      "another name for a member",
      { ...whole, layer: undefined, layers: memory.layer },
      "layer",
      "missing; it has `layers`"
    ],
    ["a setting that is a plain value", { ...whole, config: { url: "x" } }, "config.url", `"x"`],
    [
      "a setting without a text",
      { ...whole, config: { url: Setting.text("") } },
      "config.url.description",
      `""`
    ],
    [
      "a plain object",
      Object.fromEntries(Object.entries(whole).filter(([key]) => !key.startsWith("~"))),
      "default export",
      "an object"
    ]
  ]
  for (const [name, value, member, found] of invalid) {
    it(`names the member and what was found: ${name}`, () => {
      const result = Extension.validate(value, "acme")
      assert.isTrue(Result.isFailure(result))
      if (Result.isSuccess(result)) return
      const { reason } = result.failure
      assert.strictEqual(reason._tag, "InvalidExtension")
      if (reason._tag !== "InvalidExtension") return
      assert.deepStrictEqual([reason.member, reason.found], [member, found])
      assert.include(result.failure.message, "for its author to mend")
    })
  }

  it("tells an extension of a second copy of agent-layers", () => {
    const other = { ...whole, "~agent-layers/services/Extension": { version: "0.0.9" } }
    const result = Extension.validate(other, "acme")
    const error = Result.isFailure(result) ? result.failure : undefined
    assert.strictEqual(error?.reason._tag, "SecondCopy")
    assert.include(error?.message, "0.0.9, which made the extension")
    assert.include(error?.message, "peerDependencies")
  })
})

describe("ExtensionRegistry", () => {
  it.effect("lists what is registered, and forgets it with its scope", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* registry.register(acme)
        assert.deepStrictEqual((yield* registry.list).map(({ name, origin }) => [name, origin]), [
          ["acme", "this program"],
          ["plain", "this program"]
        ])
      }))
      assert.deepStrictEqual((yield* registry.list).map(({ name }) => name), ["plain"])
      const reason = yield* reasonOf(registry.get("session", "acme"))
      assert.strictEqual(reason._tag, "NotFound")
    }))

  it.effect("registers by a Layer", () =>
    Effect.gen(function*() {
      const registry = yield* ExtensionRegistry
      assert.strictEqual(yield* registry.get("memory", "acme"), acme)
    }).pipe(Effect.provide(Extension.register(acme).pipe(Layer.provideMerge(Extension.layerRegistry())))))

  it.effect("keeps two registries apart", () =>
    Effect.gen(function*() {
      const one = yield* registryOf(memory)
      const other = yield* registryOf(acme)
      yield* one.configure("session", "plain")
      assert.deepStrictEqual((yield* one.list).map(({ name }) => name), ["plain"])
      assert.deepStrictEqual((yield* other.list).map(({ name }) => name), ["acme"])
      assert.deepStrictEqual(yield* other.instances("session"), [])
    }))

  it.effect("refuses a name that is taken", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory)
      const error = yield* Effect.flip(registry.register(memory))
      assert.strictEqual(error.reason._tag, "Duplicate")
      assert.include(error.message, "Register one of them only")
      // Another kind may have the name.
      yield* registry.register(
        Extension.make({ ...common, kind: "tracer", name: "plain", config: {}, layer: () => Layer.empty })
      )
    }))

  it.effect("tells the nearest valid name", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory, acme)
      const error = yield* Effect.flip(registry.get("session", "acne"))
      assert.strictEqual(
        error.message,
        `session "acne": there is no session extension "acne"; did you mean "acme"? ` +
          `There are: "acme", "plain". One of another package has to be installed as a dependency of this project`
      )
      const kind = yield* Effect.flip(registry.get("sesion" as "session", "acme"))
      assert.include(kind.message, `did you mean "session"?`)
      const elsewhere = yield* Effect.flip(registry.get("model", "acme"))
      assert.include(elsewhere.message, `"acme" is an extension of kind session`)
    }))

  it.effect("refuses an extension of another version", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf({ ...memory, compatibleWith: "^0.2.0" })
      const error = yield* Effect.flip(registry.configure("session", "plain"))
      assert.strictEqual(error.reason._tag, "Incompatible")
      assert.include(error.message, `agent-layers ^0.2.0, and this is 0.1.0`)
      const [listed] = yield* registry.list
      assert.strictEqual(listed?.compatibility._tag, "Incompatible")
    }))

  it.effect("tells what happens", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf()
      const events = yield* Effect.forkChild(Stream.runCollect(Stream.take(registry.events, 5)))
      yield* Effect.yieldNow
      yield* Effect.scoped(Effect.gen(function*() {
        yield* registry.register(memory)
        yield* registry.configure("session", "plain")
        yield* Effect.provide(Session.Session, registry.layer("session"))
      }))
      assert.deepStrictEqual((yield* Fiber.join(events)).map(({ _tag }) => _tag), [
        "Registered",
        "Configured",
        "Built",
        "Released",
        "Removed"
      ])
    }))
})

describe("configure", () => {
  it.effect("reads settings from the entry, from variables, and takes defaults", () =>
    Effect.gen(function*() {
      seen.length = 0
      const registry = yield* registryOf(acme)
      yield* registry.configure("session", {
        use: "acme",
        settings: { maxItems: 5, tags: ["a", "b"], timeout: "2 seconds" }
      })
      yield* Effect.provide(Session.Session, registry.layer("session"))
      const [settings] = seen as Array<Setting.Values<typeof acme.config>>
      assert.strictEqual(Redacted.value(settings!.url), "https://acme")
      assert.strictEqual(settings!.maxItems, 7)
      assert.strictEqual(settings!.mode, "safe")
      assert.deepStrictEqual(settings!.tags, ["a", "b"])
      assert.deepStrictEqual(Object.entries(settings!.headers!).map(([name, value]) => [name, Redacted.value(value)]), [
        ["a", "1"],
        ["b", "2"]
      ])
      const shown = yield* registry.settings("session")
      assert.deepStrictEqual(shown.map(({ name, source, value }) => [name, value, source]), [
        ["url", "<redacted>", "environment"],
        ["maxItems", "7", "environment"],
        ["timeout", "2 seconds", "file"],
        ["mode", "safe", "default"],
        ["tags", ["a", "b"], "file"],
        ["headers", "<redacted>", "environment"]
      ])
      assert.deepStrictEqual(shown[0]?.variables, ["AGENT_LAYERS_SESSION_ACME_URL", "ACME_URL"])
      assert.notInclude(JSON.stringify(shown), "https://acme")
    }).pipe(environment({
      ACME_URL: "https://acme",
      AGENT_LAYERS_SESSION_ACME_MAX_ITEMS: "7",
      AGENT_LAYERS_SESSION_ACME_HEADERS: "a=1,b=2"
    })))

  it.effect("takes the value of a variable that the entry names", () =>
    Effect.gen(function*() {
      seen.length = 0
      const registry = yield* registryOf(acme)
      yield* registry.configure("session", {
        use: "acme",
        settings: { url: { env: "MY_URL" }, maxItems: { env: "MY_MAX" } }
      })
      yield* Effect.provide(Session.Session, registry.layer("session"))
      const [settings] = seen as Array<Setting.Values<typeof acme.config>>
      assert.strictEqual(Redacted.value(settings!.url), "https://mine")
      assert.strictEqual(settings!.maxItems, 3)
      const error = yield* Effect.flip(
        registry.configure("session", { use: "acme", settings: { url: { env: "NONE" } } })
      )
      assert.include(error.message, "the variable NONE is not set")
    }).pipe(environment({ MY_URL: "https://mine", MY_MAX: "3" })))

  it.effect("tells everything that is wrong, with paths and the nearest names, and no secret", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(acme, memory, recording("loud", []))
      const error = yield* Effect.flip(registry.configure("session", {
        use: "acme",
        settings: { maxItem: 5, maxItems: "many", mode: "slow", timeout: "soon", tags: "a", headers: "hush" },
        wrap: ["lowd", { use: "loud", settings: { volume: 3 } }, "plain"],
        fallbak: "plain",
        required: "yes"
      } as never))
      assert.strictEqual(error.reason._tag, "InvalidSettings")
      const issues = error.reason._tag === "InvalidSettings" ? error.reason.issues : []
      const of = (path: string) => issues.find((issue) => issue.path === path)?.message
      assert.include(of("session.fallbak"), `did you mean "fallback"?`)
      assert.include(of("session.required"), "true or false is wanted, and this is the string yes")
      assert.include(of("session.wrap[0]"), `did you mean "loud"?`)
      assert.include(of("session.wrap[1].settings.volume"), `there is no setting "volume". It takes none`)
      assert.include(of("session.wrap[2]"), `"plain" is no decorator`)
      assert.include(of("session.settings.maxItem"), `did you mean "maxItems"?`)
      assert.include(of("session.settings.maxItems"), "a whole number is wanted")
      assert.include(of("session.settings.mode"), `one of "fast", "safe" is wanted`)
      assert.include(of("session.settings.timeout"), `a text such as "5 seconds" is wanted`)
      assert.include(of("session.settings.tags"), "a list is wanted")
      assert.include(of("session.settings.url"), "it is missing: a text is wanted (Where it is.)")
      assert.include(of("session.settings.url"), "AGENT_LAYERS_SESSION_ACME_URL or ACME_URL")
      assert.strictEqual(issues.length, 12)
      assert.notInclude(error.message, "hush")
    }))

  it.effect("keeps the value of a secret variable out of errors", () =>
    Effect.gen(function*() {
      const keyed = Extension.make({
        ...common,
        kind: "session",
        name: "keyed",
        config: {
          pin: Setting.make(
            ConfigInt,
            "A number.",
            { jsonSchema: { type: "integer" }, isSecret: true }
          )
        },
        layer: () => SessionMemory.layer
      })
      const registry = yield* registryOf(keyed)
      const error = yield* Effect.flip(registry.configure("session", "keyed"))
      assert.include(error.message, "AGENT_LAYERS_SESSION_KEYED_PIN: the value is refused; a whole number is wanted")
      assert.notInclude(error.message, "hunter2")
    }).pipe(environment({ AGENT_LAYERS_SESSION_KEYED_PIN: "hunter2" })))

  it.effect("refuses what looks into items inside what hides them", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(
        memory,
        recording("compacting", [], "reads"),
        recording("sealing", [], "hides"),
        recording("loud", [])
      )
      const error = yield* Effect.flip(
        registry.configure("session", { use: "plain", wrap: ["loud", "sealing", "loud", "compacting"] })
      )
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
      assert.strictEqual(
        error.message,
        `session "compacting": the stack loud > sealing > loud > compacting > plain is impossible: "compacting" looks ` +
          `into items, and stands inside "sealing", which hides what they hold. Put "compacting" before "sealing" in ` +
          "`wrap`, which is outermost first"
      )
      yield* registry.configure("session", { use: "plain", wrap: ["compacting", "loud", "sealing"] })
    }))

  it.effect("says where a decorator belongs", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(recording("loud", []))
      const error = yield* Effect.flip(registry.configure("session", "loud"))
      assert.include(error.message, "name it in `wrap`")
    }))
})

const ConfigInt = Setting.integer("").config

describe("layer", () => {
  it.effect("builds decorators over the backend, outermost first", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const registry = yield* registryOf(memory, recording("outer", log), recording("inner", log))
      yield* registry.configure("session", { use: "plain", wrap: ["outer", "inner"] })
      yield* Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.saveItems("ada", [Item.user("hi")])
        assert.deepStrictEqual(log, ["outer", "inner"])
        assert.strictEqual((yield* session.loadItems("ada")).items.length, 1)
        const [running] = yield* registry.running
        assert.deepStrictEqual([running?.use, running?.wrap], ["plain", ["outer", "inner"]])
        yield* running!.ping!
      }).pipe(Effect.provide(registry.layer("session")))
      assert.deepStrictEqual(yield* registry.running, [])
    }))

  it.effect("is built once in a program, and anew for each instance", () =>
    Effect.gen(function*() {
      const constant = SessionMemory.layer
      const shared = Extension.make({ ...common, kind: "session", name: "shared", config: {}, layer: () => constant })
      const registry = yield* registryOf(shared)
      yield* registry.configure("session", "shared")
      yield* registry.configure("session", "shared", { instance: "archive" })
      class Archive extends Context.Service<Archive, Session.Session["Service"]>()("test/Archive") {}
      class Twice extends Context.Service<Twice, Session.Session["Service"]>()("test/Twice") {}
      yield* Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.saveItems("ada", [Item.user("hi")])
        assert.strictEqual((yield* (yield* Archive).loadItems("ada")).items.length, 0)
        assert.strictEqual((yield* (yield* Twice).loadItems("ada")).items.length, 1)
      }).pipe(Effect.provide(Layer.mergeAll(
        registry.layer("session"),
        Layer.effect(Archive, Session.Session).pipe(Layer.provide(registry.layer("session", "archive"))),
        Layer.effect(Twice, Session.Session).pipe(Layer.provide(registry.layer("memory")))
      )))
    }))

  it.effect("tells what is not configured", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory)
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(error.reason._tag, "NotFound")
      assert.include(error.message, "AGENT_LAYERS_SESSION")
    }))

  it.effect("makes a typed error of a Layer that fails, that dies, and of one that throws", () =>
    Effect.gen(function*() {
      const thrower = Extension.make({
        ...common,
        kind: "session",
        name: "thrower",
        config: {},
        layer: (): Layer.Layer<Session.Session> => {
          throw new Error("bad day")
        }
      })
      const dying = Extension.make({
        ...common,
        kind: "session",
        name: "dying",
        config: {},
        layer: () => Layer.effect(Session.Session, Effect.die(new Error("boom")))
      })
      const none = { ...memory, name: "none", layer: () => "a Layer" as never }
      const registry = yield* registryOf(failing("down"), thrower, dying, none)
      const build = (use: string) =>
        Effect.andThen(
          registry.configure("session", use),
          Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
        )
      const down = yield* build("down")
      assert.strictEqual(down.reason._tag, "Unavailable")
      assert.include(down.message, "127.0.0.1:1 refused the connection")
      const thrown = yield* build("thrower")
      assert.strictEqual(thrown.reason._tag, "LoadFailed")
      assert.include(thrown.message, "its `layer` threw: bad day")
      const died = yield* build("dying")
      assert.strictEqual(died.reason._tag, "LoadFailed")
      assert.include(died.message, "boom")
      assert.include((yield* build("none")).message, "`layer(settings)` should be a Layer, and is string")
    }))

  it.effect("names the member of a service that is not there: save for saveItems", () =>
    Effect.gen(function*() {
      const wrong = {
        ...memory,
        name: "wrong",
        layer: () =>
          Layer.effect(
            Session.Session,
            Effect.map(SessionMemory.make(), ({ saveItems, ...session }) => ({ ...session, save: saveItems }) as never)
          )
      }
      const other = {
        ...memory,
        name: "other",
        layer: () => Layer.succeed(ModelProvider.ModelProvider, {} as never) as never
      }
      const registry = yield* registryOf(wrong, other)
      yield* registry.configure("session", "wrong")
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(
        error.message,
        "session \"wrong\": `Session.saveItems` should be a function, and is missing; the service has `save`. That is for " +
          "its author to mend"
      )
      yield* registry.configure("session", "other")
      const none = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.include(
        none.message,
        `a Layer that provides "agent-layers/services/Session", and is one that provides agent-layers/services/ModelProvider`
      )
    }))

  it.live("tries a backend out when it is built", () =>
    Effect.gen(function*() {
      const probed = (name: string, probe: Effect.Effect<unknown, unknown>) => ({ ...memory, name, probe: () => probe })
      const registry = yield* Extension.makeRegistry({ probeTimeoutMillis: 30 })
      yield* registry.register(probed("sad", Effect.fail({ message: "the bucket is not there" })))
      yield* registry.register(probed("slow", Effect.never))
      yield* registry.configure("session", "sad")
      const sad = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(sad.reason._tag, "ProbeFailed")
      assert.include(sad.message, "the bucket is not there")
      yield* registry.configure("session", "slow")
      assert.include(
        (yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))).message,
        "no answer within 0.03 seconds"
      )
      yield* registry.configure("session", { use: "slow", probe: false })
      yield* Effect.provide(Session.Session, registry.layer("session"))
    }))

  it.effect("gives what another service needs, and says where it is missing", () =>
    Effect.gen(function*() {
      const asking = Extension.decorator({
        ...common,
        kind: "session",
        name: "asking",
        config: {},
        needs: ["model"],
        layer: () => Layer.effect(Session.Session, Effect.andThen(ModelProvider.ModelProvider, Session.Session))
      })
      const model = Extension.make({
        ...common,
        kind: "model_provider",
        name: "none",
        config: {},
        layer: () => Layer.succeed(ModelProvider.ModelProvider, { getModel: () => Effect.die("unused") })
      })
      const registry = yield* registryOf(memory, asking, model)
      yield* registry.configure("session", { use: "plain", wrap: ["asking"] })
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.include(error.message, "it needs a model, and none is configured. Configure one: model: { use: … }")
      yield* registry.configure("model", "none")
      yield* Effect.provide(Session.Session, registry.layer("session"))
    }))

  it.effect("gives other instances, and refuses one that is built of itself", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const backed = Extension.make({
        ...common,
        kind: "session",
        name: "backed",
        config: { by: Setting.text("Which.") },
        layer: ({ by }, { of }) => of(by)
      })
      const registry = yield* registryOf(memory, backed, recording("loud", log))
      yield* registry.configure("session", { use: "backed", settings: { by: "archive" } })
      yield* registry.configure("session", { use: "plain", wrap: ["loud"] }, { instance: "archive" })
      yield* Effect.gen(function*() {
        yield* (yield* Session.Session).saveItems("ada", [Item.user("hi")])
        assert.deepStrictEqual(log, ["loud"])
      }).pipe(Effect.provide(registry.layer("session")))
      yield* registry.configure("session", { use: "backed", settings: { by: "default" } }, { instance: "archive" })
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
      assert.include(error.message, "session.default > session.archive > session.default")
    }))

  it.effect("takes a decorator that the backend cannot carry for an impossible stack", () =>
    Effect.gen(function*() {
      const picky = Extension.decorator({
        ...common,
        kind: "session",
        name: "picky",
        config: {},
        layer: () =>
          Layer.effect(
            Session.Session,
            Effect.andThen(
              Session.Session,
              Effect.fail(
                new SessionErrors.SessionError({
                  backend: "picky",
                  operation: "open",
                  reason: new SessionErrors.Unsupported({ description: "the session below cannot rewrite" })
                })
              )
            )
          )
      })
      const registry = yield* registryOf(memory, picky)
      yield* registry.configure("session", { use: "plain", wrap: ["picky"] })
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
      assert.include(error.message, "the session below cannot rewrite")
    }))
})

describe("degradation", () => {
  const logged = (lines: Array<string>) =>
    Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])

  it.effect("goes to the fallback, closes what failed, logs once and shows it", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const lines: Array<string> = []
      const order: Array<string> = []
      const registry = yield* registryOf(memory, failing("down", log), recording("loud", order))
      yield* registry.configure("session", { use: "down", wrap: ["loud"], fallback: "plain" })
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(log, ["opened", "closed"])
        const session = yield* Session.Session
        yield* session.saveItems("ada", [Item.user("hi")])
        yield* session.saveItems("ada", [Item.user("ho")])
        assert.deepStrictEqual(order, ["loud", "loud"])
        const [running] = yield* registry.running
        assert.strictEqual(running?.use, "plain")
        assert.strictEqual(running?.degraded?.insteadOf, "down")
        assert.strictEqual(running?.degraded?.reason.reason._tag, "Unavailable")
      }).pipe(Effect.provide(registry.layer("session")), Effect.provide(logged(lines)))
      assert.strictEqual(lines.length, 1)
      assert.include(lines[0], `The fallback "plain" serves instead of session "down"`)
      assert.include(lines[0], "127.0.0.1:1 refused the connection")
    }))

  it.effect("goes to the fallback where a package is missing or of another version", () =>
    Effect.gen(function*() {
      const client = { ...memory, name: "client", packages: { "acme-client": "^2.0.0" } }
      const lines: Array<string> = []
      for (
        const [version, tag, message] of [
          [undefined, "MissingPackage", `npm install acme-client@"^2.0.0"`],
          ["1.4.0", "Incompatible", "acme-client ^2.0.0, and this is 1.4.0"]
        ] as const
      ) {
        const registry = yield* Extension.makeRegistry({ installed: () => Effect.succeed(version) })
        yield* registry.register(client)
        yield* registry.register(memory)
        const error = yield* Effect.flip(registry.configure("session", "client"))
        assert.strictEqual(error.reason._tag, tag)
        assert.include(error.message, message)
        yield* registry.configure("session", { use: "client", fallback: "plain" })
        yield* Effect.gen(function*() {
          const [running] = yield* registry.running
          assert.strictEqual(running?.degraded?.reason.reason._tag, tag)
        }).pipe(Effect.provide(registry.layer("session")), Effect.provide(logged(lines)))
        const required = yield* Effect.flip(
          registry.configure("session", { use: "client", fallback: "plain", required: true })
        )
        assert.strictEqual(required.reason._tag, tag)
      }
      assert.strictEqual(lines.length, 2)
    }))

  it.effect("is forbidden by required", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory, failing("down"))
      yield* registry.configure("session", { use: "down", fallback: "plain", required: true })
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.strictEqual(error.reason._tag, "Unavailable")
    }))

  it.effect("does not hide a mistake in settings, nor go where less is enforced", () =>
    Effect.gen(function*() {
      const weak = { ...memory, name: "weak", canBeFallback: false }
      const registry = yield* registryOf(memory, acme, weak)
      const error = yield* Effect.flip(registry.configure("session", { use: "acme", fallback: "plain" }))
      assert.strictEqual(error.reason._tag, "InvalidSettings")
      const unknown = yield* Effect.flip(registry.configure("session", { use: "nothing", fallback: "plain" }))
      assert.strictEqual(unknown.reason._tag, "NotFound")
      const refused = yield* Effect.flip(registry.configure("session", { use: "plain", fallback: "weak" }))
      assert.strictEqual(refused.reason._tag, "ImpossibleStack")
    }))

  it.effect("tells both failures where the fallback fails too", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(failing("down"), failing("too"))
      yield* registry.configure("session", { use: "down", fallback: "too" })
      const error = yield* Effect.flip(Effect.provide(Session.Session, registry.layer("session")))
      assert.include(error.message, "down open: 127.0.0.1:1")
      assert.include(error.message, `its fallback, session "too"`)
    }).pipe(Effect.provide(Logger.layer([]))))
})

describe("tools", () => {
  const add = Tool.make("add", {
    description: "Adds.",
    parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
    success: Schema.Finite
  })
  const toolkit = Toolkit.make(add)
  const math = Extension.make({
    ...common,
    kind: "tool",
    name: "math",
    config: { offset: Setting.number("What to add.", { default: 0 }) },
    toolkit,
    layer: ({ offset }) => toolkit.toLayer({ add: ({ a, b }) => Effect.succeed(a + b + offset) })
  })

  it.effect("come with their toolkit", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(math)
      yield* registry.configure("tool", { use: "math", settings: { offset: 1 } }, { instance: "math" })
      assert.strictEqual(yield* registry.toolkit("math"), toolkit)
      const context = yield* Effect.context<never>().pipe(Effect.provide(registry.layer("tool", "math")))
      const handler = context.mapUnsafe.get(add.id) as Tool.Handler<"add">
      assert.strictEqual(yield* handler.handler({ a: 1, b: 2 }, {}) as Effect.Effect<number>, 4)
    }))
})

describe("errors", () => {
  it.effect("go through JSON", () =>
    Effect.gen(function*() {
      const registry = yield* registryOf(memory)
      const error = yield* Effect.flip(registry.get("session", "plan"))
      const codec = Schema.toCodecJson(ExtensionError.ExtensionError)
      const back = yield* Schema.decodeUnknownEffect(codec)(
        JSON.parse(JSON.stringify(yield* Schema.encodeEffect(codec)(error)))
      )
      assert.isTrue(ExtensionError.isExtensionError(back))
      assert.isTrue(ExtensionError.isExtensionErrorReason(back.reason))
      assert.strictEqual(back.message, error.message)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.fail(error))))
    }))
})
