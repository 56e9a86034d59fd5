import { assert, describe, it } from "@effect/vitest"
import { Catalogue, Extension, Extensions } from "agent-layers/extensions"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { makeFolder, peersIn, root, run } from "./project.ts"

const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8")) as {
  readonly peerDependencies: Record<string, string>
}

const layersOf = (kind: string): ReadonlyArray<string> =>
  fs.readdirSync(path.join(root, "src/layers", kind))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `${kind}/${file.slice(0, -".ts".length)}`)

/** What each kind of Layer is called here. */
const kinds: Record<string, Extension.ExtensionKind | undefined> = {
  session: "session",
  model: "model",
  sandbox: "sandbox",
  tracer: "tracer",
  mcp: "mcp",
  tools: "tool"
}

describe("Catalogue", () => {
  const files = fs.readdirSync(path.join(root, "src/layers")).flatMap(layersOf)

  for (const file of files) {
    it(`${file} is an extension, or says why it is not`, () => {
      const entry = Catalogue.modules[file]
      assert.isDefined(entry, `add it to src/run/extensions/Catalogue.ts`)
      if (entry === undefined) return
      if ("inCodeOnly" in entry) {
        assert.isNotEmpty(entry.inCodeOnly)
        return
      }
      const kind = kinds[path.dirname(file)]
      assert.isNotEmpty(entry.extensions)
      for (const name of entry.extensions) {
        assert.isTrue(Catalogue.extensions.some((one) => one.kind === kind && one.name === name), `${kind} "${name}"`)
      }
    })
  }

  it("names no Layer that is not there", () => {
    assert.deepStrictEqual(Object.keys(Catalogue.modules).filter((file) => !files.includes(file)), [])
  })

  for (const extension of Catalogue.extensions) {
    it(`${extension.kind} "${extension.name}" is valid, and each of its settings has a text`, () => {
      assert.strictEqual(Extension.validate(extension, extension.name)._tag, "Success")
      assert.match(extension.description, /^[A-Z].{10,}[.?]$/)
      for (const [name, setting] of Object.entries(extension.config)) {
        assert.match(setting.description, /.{3,}[.`]$/, name)
        if (setting.isSecret) assert.isUndefined(setting.default, `${name} is secret and has a default`)
        assert.isObject(setting.jsonSchema, name)
      }
    })
  }

  it("asks for packages at the ranges of this package's peers", () => {
    for (const { name, packages = {} } of Catalogue.extensions) {
      for (const [packageName, range] of Object.entries(packages)) {
        assert.strictEqual(range, manifest.peerDependencies[packageName], `${name}: ${packageName}`)
      }
    }
  })

  it("has the defaults of settings in the form that a file and a variable have", () =>
    Effect.runPromise(Effect.gen(function*() {
      for (const { config, kind, name } of Catalogue.extensions) {
        for (const [key, setting] of Object.entries(config)) {
          if (setting.default === undefined || Array.isArray(setting.default)) continue
          const read = yield* Effect.result(setting.config.parse(ConfigProvider.fromUnknown(setting.default)))
          assert.strictEqual(read._tag, "Success", `${kind} ${name} ${key}`)
        }
      }
    })))

  it("lists without loading a client, and loads one when it is chosen", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": { name: "app", type: "module" },
      "hooks.mjs": `import { registerHooks } from "node:module"
        globalThis.loaded = new Set()
        registerHooks({ load: (url, context, next) => {
          const found = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)
          if (found !== null) globalThis.loaded.add(found[1])
          return next(url, context)
        } })`
    })
    const { answer } = run<{ readonly listed: ReadonlyArray<string>; readonly used: ReadonlyArray<string> }>(
      folder,
      `answer(Effect.gen(function*() {
        const registry = yield* Extensions.makeRegistry({ root })
        yield* registry.list
        yield* Configuration.jsonSchema(registry)
        const listed = [...globalThis.loaded]
        yield* registry.configure("session", { use: "redis", settings: { url: "redis://127.0.0.1:1" } })
        yield* Effect.ignore(Effect.provide(Session.Session, registry.layer("session")))
        return { listed, used: [...globalThis.loaded] }
      }))`
    )
    const isClient = (name: string) => /redis|^pg|sql-pg|openai|modelcontextprotocol|opentelemetry|aws-sdk/.test(name)
    assert.include(answer.listed, "effect")
    assert.deepStrictEqual(answer.listed.filter(isClient), [])
    assert.include(answer.used, "redis")
  })

  /** A configuration of each extension that needs nothing but this machine. */
  const key = "QTZiWm1kUXJ0eHc5V0RLc0pUb1pFZ0Z2YnNhMkx4Y1E="
  const buildable: Record<string, Parameters<Extension.ExtensionRegistry["Service"]["configure"]>[1]> = {
    "session memory": "memory",
    "session sqlite": { use: "sqlite", settings: { filename: ":memory:" } },
    "session openai-conversations": {
      use: "openai-conversations",
      settings: { apiKey: "sk-test", baseURL: "http://127.0.0.1:1" },
      probe: false
    },
    "session s3": {
      use: "s3",
      settings: { bucket: "b", endpoint: "http://127.0.0.1:1", accessKeyId: "a", secretAccessKey: "b" },
      probe: false
    },
    "session encrypted": {
      use: "memory",
      wrap: [{ use: "encrypted", settings: { keys: [{ id: "1", secret: key }] } }]
    },
    "session compressed": { use: "memory", wrap: ["compressed"] },
    "session cached": { use: "memory", wrap: ["cached"] },
    "session compacted": { use: "memory", wrap: [{ use: "compacted", settings: { maxItems: 10 } }] },
    "session retention": { use: "memory", wrap: [{ use: "retention", settings: { maxAge: "1 day" } }] },
    "session fallback": { use: "memory", wrap: [{ use: "fallback", settings: { backups: ["other"] } }] },
    "session prefixed": { use: "memory", wrap: [{ use: "prefixed", settings: { tenant: "acme" } }] },
    "model openai": { use: "openai", settings: { apiKey: "sk-test" } },
    "model openai-chat": { use: "openai-chat", settings: { apiKey: "sk-test" } },
    "model scripted": { use: "scripted", settings: { answers: ["hi"] } },
    "model router": { use: "router", settings: { providers: ["other"], default: "other" } },
    "model fallback": { use: "fallback", settings: { models: ["other", "other/x"] } },
    "model retry": { use: "scripted", settings: { answers: ["hi"] }, wrap: ["retry"] },
    "model timeouts": { use: "scripted", settings: { answers: ["hi"] }, wrap: ["timeouts"] },
    "model concurrency": {
      use: "scripted",
      settings: { answers: ["hi"] },
      wrap: [{ use: "concurrency", settings: { maxRequests: 2 } }]
    },
    "sandbox unconfined": "unconfined",
    "sandbox virtual": "virtual",
    "tracer console": "console",
    "tracer memory": "memory",
    "tracer json-lines": { use: "json-lines", settings: { path: "/dev/null" } },
    "tracer sqlite": { use: "sqlite", settings: { filename: ":memory:" } },
    "tracer openai": { use: "openai", settings: { apiKey: "sk-test" } },
    "tracer otlp": { use: "otlp", settings: { url: "http://127.0.0.1:1" } },
    "tracer opentelemetry": "opentelemetry",
    "tracer redacted": { use: "redacted", settings: { patterns: ["sk-\\w+"] } },
    "mcp http": { use: "http", settings: { url: "http://127.0.0.1:1/mcp", connect: "use" }, probe: false },
    "mcp sse": { use: "sse", settings: { url: "http://127.0.0.1:1/mcp", connect: "use" }, probe: false },
    "mcp stdio": { use: "stdio", settings: { command: "true", connect: "use" }, probe: false },
    "mcp filtered": {
      use: "stdio",
      settings: { command: "true", connect: "use" },
      probe: false,
      wrap: [{ use: "filtered", settings: { exclude: ["rm"] } }]
    },
    "tool sandbox": "sandbox",
    "tool sandbox-read-only": "sandbox-read-only"
  }

  /** What needs a server or a program that this machine may not have, and is built by the tests of its Layer. */
  const elsewhere = ["session postgres", "session redis", "sandbox bubblewrap"]

  it("is built here as a whole, but for what needs a server", () => {
    assert.sameMembers(
      [...Object.keys(buildable), ...elsewhere],
      Catalogue.extensions.map(({ kind, name }) => `${kind} ${name}`)
    )
  })

  for (const [title, entry] of Object.entries(buildable)) {
    it.live(`builds ${title}`, () =>
      Effect.gen(function*() {
        const [kind = "session"] = title.split(" ") as [Extension.ExtensionKind]
        const registry = yield* Extensions.makeRegistry()
        yield* registry.configure("session", "memory", { instance: "other" })
        yield* registry.configure("model", { use: "scripted", settings: { answers: ["a"] } }, { instance: "other" })
        if (kind !== "model") yield* registry.configure("model", { use: "scripted", settings: { answers: ["a"] } })
        if (kind !== "sandbox") yield* registry.configure("sandbox", "virtual")
        yield* registry.configure(kind, entry)
        const layer: Layer.Layer<never, unknown> = registry.layer(kind)
        yield* Effect.gen(function*() {
          assert.isTrue((yield* registry.running).some((one) => one.kind === kind && one.instance === "default"))
        }).pipe(Effect.provide(layer))
      }))
  }

  it.effect("reads a key ring from a variable", () =>
    Effect.gen(function*() {
      const registry = yield* Extensions.makeRegistry()
      const { config } = yield* registry.get("session", "encrypted")
      const keys = yield* config["keys"]!.config.parse(ConfigProvider.fromUnknown(`2026:${key}, 2025:b2xk`))
      assert.deepStrictEqual(
        (keys as ReadonlyArray<{ readonly id: string; readonly secret: Redacted.Redacted<string> }>).map((
          { id, secret }
        ) => [id, Redacted.value(secret)]),
        [["2026", key], ["2025", "b2xk"]]
      )
      const error = yield* Effect.flip(registry.configure("session", {
        use: "memory",
        wrap: [{
          use: "encrypted",
          settings: { keys: [{ id: "1", secrets: "hush" }] }
        }]
      }))
      assert.include(
        error.message,
        "session.wrap[0].settings.keys: the value is refused; a list is wanted (The key ring"
      )
      assert.notInclude(error.message, "hush")
    }))

  it.effect("refuses settings that do not go together", () =>
    Effect.gen(function*() {
      const registry = yield* Extensions.makeRegistry()
      yield* registry.configure("session", { use: "s3", settings: { bucket: "b", accessKeyId: "a" } })
      const s3 = yield* Effect.flip(Effect.provide(Effect.void, registry.layer("session")))
      assert.include(s3.message, "accessKeyId and secretAccessKey go together")
      yield* registry.configure("model", { use: "router", settings: { providers: ["a"], default: "b/x" } })
      const router = yield* Effect.flip(Effect.provide(Effect.void, registry.layer("model")))
      assert.include(router.message, `"b/x" is none of the providers; there are: a`)
    }))
})
