import { assert, describe, it } from "@effect/vitest"
import { Configuration, Extension, ExtensionError, Extensions } from "agent-layers/extensions"
import * as ModelScripted from "agent-layers/layers/model/ModelScripted"
import * as TracerMemory from "agent-layers/layers/tracer/TracerMemory"
import * as Agent from "agent-layers/run/Agent"
import * as Runner from "agent-layers/run/Runner"
import * as McpServer from "agent-layers/services/McpServer"
import * as ModelProvider from "agent-layers/services/ModelProvider"
import * as Session from "agent-layers/services/Session"
import * as Tracer from "agent-layers/services/Tracer"
import { ConfigProvider, Effect, Logger } from "effect"
import * as net from "node:net"
import * as path from "node:path"
import { makeFolder, manifestOf, peersIn, run, sessionModule, type Told } from "./project.ts"

const key = "QTZiWm1kUXJ0eHc5V0RLc0pUb1pFZ0Z2YnNhMkx4Y1E="

const environment = (env: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
const nothing = environment({})

const issuesOf = (error: ExtensionError.ExtensionError): ReadonlyArray<ExtensionError.Issue> =>
  error.reason._tag === "InvalidSettings" ? error.reason.issues : []

const build = (config: unknown, options: Extensions.Options<never> = {}) =>
  Effect.flip(Effect.provide(Effect.void, Extensions.layer(config as Configuration.Config, options)))

describe("resolve", () => {
  const config = Configuration.define({
    session: { use: "postgres", settings: { url: "x", schema: "a" }, wrap: ["cached"] },
    model: "openai",
    mcp: { files: { use: "stdio", settings: { command: "a" } }, search: "http" },
    tracer: ["console", "console", "memory"],
    instances: { session: { archive: "memory" } },
    environments: {
      production: {
        session: { required: true, settings: { schema: "b" } },
        mcp: { search: null, files: { settings: { args: ["x"] } } },
        tracer: "otlp",
        instances: { session: { archive: { use: "s3", settings: { bucket: "b" } } }, model: { fast: "openai" } }
      },
      test: { memory: "memory", model: null }
    }
  })

  const resolve = (env: Record<string, string>, options?: Configuration.ResolveOptions) =>
    Effect.map(
      Configuration.resolve(config, options),
      (resolved) =>
        Object.fromEntries(
          resolved.map(({ entry, instance, kind, path }) => [`${kind} ${instance}`, [entry, path] as const])
        )
    )
      .pipe(environment(env))

  it.effect("gives services with their instances and paths", () =>
    Effect.gen(function*() {
      const resolved = yield* resolve({})
      assert.deepStrictEqual(Object.keys(resolved).sort(), [
        "mcp files",
        "mcp search",
        "model default",
        "session archive",
        "session default",
        "tracer console",
        "tracer console-2",
        "tracer memory"
      ])
      assert.strictEqual(resolved["tracer console-2"]?.[1], "tracer[1]")
      assert.strictEqual(resolved["session archive"]?.[1], "instances.session.archive")
    }))

  it.effect("lays the overlay of an environment over it", () =>
    Effect.gen(function*() {
      const production = yield* resolve({ AGENT_LAYERS_ENV: "production" })
      assert.deepStrictEqual(production["session default"]?.[0], {
        use: "postgres",
        settings: { url: "x", schema: "b" },
        wrap: ["cached"],
        required: true
      })
      assert.deepStrictEqual(production["mcp files"]?.[0], { use: "stdio", settings: { command: "a", args: ["x"] } })
      assert.isUndefined(production["mcp search"])
      assert.deepStrictEqual(production["session archive"]?.[0], { use: "s3", settings: { bucket: "b" } })
      assert.deepStrictEqual(Object.keys(production).filter((name) => name.startsWith("tracer")), ["tracer otlp"])
      assert.deepStrictEqual(production["model fast"]?.[0], "openai")
    }))

  it.effect("drops settings of another backend, and what null takes away", () =>
    Effect.gen(function*() {
      const test = yield* resolve({ NODE_ENV: "test" })
      assert.deepStrictEqual(test["session default"]?.[0], { use: "memory", wrap: ["cached"] })
      assert.isUndefined(test["model default"])
      assert.deepStrictEqual(yield* resolve({ NODE_ENV: "production" }, { environment: "test" }), test)
    }))

  it.effect("asks for an environment that is there, where it is asked for by name", () =>
    Effect.gen(function*() {
      yield* resolve({ NODE_ENV: "staging" })
      const error = yield* Effect.flip(resolve({ AGENT_LAYERS_ENV: "prod" }))
      assert.strictEqual(error.reason._tag, "NotFound")
      assert.include(error.message, `there is no environment "prod"; did you mean "production"?`)
    }))

  it.effect("lets variables choose", () =>
    Effect.gen(function*() {
      const resolved = yield* resolve({
        AGENT_LAYERS_SESSION: "redis",
        AGENT_LAYERS_SESSION_WRAP: "compressed, encrypted",
        AGENT_LAYERS_SESSION_FALLBACK: "sqlite",
        AGENT_LAYERS_SESSION_REQUIRED: "false",
        AGENT_LAYERS_TRACER: "otlp,redacted",
        AGENT_LAYERS_TOOL: "sandbox",
        AGENT_LAYERS_SANDBOX: "virtual"
      })
      assert.deepStrictEqual(resolved["session default"]?.[0], {
        use: "redis",
        wrap: ["compressed", "encrypted"],
        fallback: "sqlite",
        required: false
      })
      assert.deepStrictEqual(
        Object.keys(resolved).filter((name) => /^(tracer|tool|sandbox)/.test(name)).sort(),
        ["sandbox default", "tool sandbox", "tracer otlp", "tracer redacted"]
      )
      const error = yield* Effect.flip(resolve({ AGENT_LAYERS_SESSION_REQUIRED: "yes" }))
      assert.include(error.message, "AGENT_LAYERS_SESSION_REQUIRED: true or false is wanted")
    }))
})

describe("misuse is told at once, with paths", () => {
  const table: ReadonlyArray<
    readonly [title: string, config: unknown, path: string, ...parts: ReadonlyArray<string>]
  > = [
    ["a key that is none", { sesion: "memory" }, "sesion", `did you mean "session"?`],
    [
      "a key of an overlay that is none",
      { environments: { test: { modle: "x" } } },
      "environments.test.modle",
      `"model"`
    ],
    ["both words for one kind", { session: "memory", memory: "sqlite" }, "memory", `another word for "session"`],
    ["no object", ["session"], "configuration", "an object is wanted, and this is a list"],
    ["a number for a backend", { session: 5 }, "session", "the name of an extension", "the number 5"],
    ["no use", { session: { wrap: ["cached"] } }, "session.use", "it is missing"],
    [
      "settings beside use",
      { session: { use: "memory", filename: "x" } },
      "session.filename",
      "stands in its `settings`"
    ],
    [
      "settings that are a text",
      { session: { use: "memory", settings: "x" } },
      "session.settings",
      "an object is wanted"
    ],
    ["a wrap that is a word", { session: { use: "memory", wrap: "cached" } }, "session.wrap", "a list of decorators"],
    ["a decorator as a backend", { session: "encrypted" }, "session", "name it in `wrap`"],
    ["a backend as a decorator", { session: { use: "memory", wrap: ["sqlite"] } }, "session.wrap[0]", "no decorator"],
    ["another kind's name", { mcp: { a: "http-server" } }, "mcp.a", "there is no mcp extension"],
    ["mcp without names", { mcp: "stdio" }, "mcp", "an object of services by name is wanted"],
    ["a name with a space", { mcp: { "my files": "stdio" } }, "mcp.my files", "letters, digits"],
    ["instances of no kind", { instances: { sessions: {} } }, "instances.sessions", `did you mean "session"?`],
    ["a tool without a sandbox", { tool: "sandbox" }, "tool", "needs a sandbox, and none is configured"],
    [
      "a missing setting",
      { session: "postgres" },
      "session.settings.url",
      "it is missing",
      "AGENT_LAYERS_SESSION_POSTGRES_URL or DATABASE_URL"
    ],
    [
      "a wrong type",
      { session: { use: "postgres", settings: { url: 5 } } },
      "session.settings.url",
      "this is a number"
    ],
    [
      "a word that is none of the words",
      { session: { use: "sqlite", settings: { synchronous: "fully" } } },
      "session.settings.synchronous",
      `one of "normal", "full" is wanted`
    ]
  ]
  for (const [title, config, at, ...parts] of table) {
    it.effect(title, () =>
      Effect.gen(function*() {
        // A second mistake, so that each is an issue with a path.
        const wrong = Array.isArray(config) ? config : { ...config as object, zzz: 1 }
        const issues = issuesOf(yield* build(wrong))
        const found = issues.find(({ path }) => path === at)
        assert.isDefined(found, JSON.stringify(issues))
        for (const part of parts) assert.include(found?.message, part)
      }).pipe(nothing))
  }

  it.effect("an impossible stack alone keeps its reason", () =>
    Effect.gen(function*() {
      const error = yield* build({
        model: { use: "scripted", settings: { answers: [] } },
        session: {
          use: "memory",
          wrap: [{ use: "encrypted", settings: { keys: [{ id: "1", secret: key }] } }, "compacted"]
        }
      })
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
      assert.include(error.message, `Put "compacted" before "encrypted"`)
    }).pipe(nothing))

  it.effect("a stack that the backend cannot carry is refused when it is built", () =>
    Effect.gen(function*() {
      const error = yield* build({
        session: {
          use: "openai-conversations",
          probe: false,
          settings: { apiKey: "sk-test", baseURL: "http://127.0.0.1:1" },
          wrap: ["retention"]
        }
      })
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
      assert.include(error.message, "cannot rewrite")
    }).pipe(nothing))

  it.effect("no walls in place of walls", () =>
    Effect.gen(function*() {
      const error = yield* build({ sandbox: { use: "virtual", fallback: "unconfined" } })
      assert.strictEqual(error.reason._tag, "ImpossibleStack")
    }).pipe(nothing))
})

describe("layer", () => {
  it.live("gives the services that the configuration has, by type and in truth", () => {
    const layer = Extensions.layer({ session: "memory", model: { use: "scripted", settings: { answers: ["hi"] } } })
    const program = Effect.gen(function*() {
      const model = yield* (yield* ModelProvider.ModelProvider).getModel()
      yield* (yield* Session.Session).loadItems("ada")
      return (yield* model.respond({ input: "hi" })).output.length
    })
    const typed: Effect.Effect<number, unknown> = Effect.provide(program, layer)
    return Effect.gen(function*() {
      assert.strictEqual(yield* typed, 1)
    }).pipe(nothing)
  })

  it.live("refuses to build where something that is needed is not configured", () =>
    Effect.gen(function*() {
      class Files extends McpServer.Service<Files>()("files") {}
      const config: Configuration.Config = { session: "memory" }
      const build = <N extends typeof Files | typeof Session.Sealed | typeof ModelProvider.ModelProvider>(need: N) =>
        Effect.flip(Effect.provide(Effect.void, Extensions.layer(config, { needs: [need] })))
      assert.include((yield* build(Files)).message, "Configure it: mcp: { files: { use: … } }")
      assert.include((yield* build(Session.Sealed)).message, `Encrypt the session: session: { wrap: ["encrypted"] }`)
      assert.include((yield* build(ModelProvider.ModelProvider)).message, "Configure it: model: { use: … }")
      const sealed = Extensions.layer({
        session: { use: "memory", wrap: [{ use: "encrypted", settings: { keys: [{ id: "1", secret: key }] } }] }
      }, { needs: [Session.Sealed] })
      yield* Effect.provide(Session.Sealed, sealed)
    }).pipe(nothing))

  it.live("gives the tag of an MCP server by its name", () =>
    Effect.gen(function*() {
      class Files extends McpServer.Service<Files>()("files") {}
      const layer = Extensions.layer({
        mcp: { files: { use: "stdio", settings: { command: "true", connect: "use" }, probe: false } }
      }, { needs: [Files] })
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Files).name, "files")
        assert.deepStrictEqual((yield* Extensions.mcpServers).map(({ serverName }) => serverName), ["files"])
      }).pipe(Effect.provide(layer))
    }).pipe(nothing))

  it.live("registers all tracers with one tracer", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Tracer.Tracer).processors.size, 3)
      yield* Tracer.withSpan(Effect.void, () => ({ _tag: "Custom", name: "one" }))
      assert.strictEqual(yield* (yield* TracerMemory.TracerMemory).outline, "one")
    }).pipe(
      Effect.provide(
        Extensions.layer({
          tracer: [{ use: "sqlite", settings: { filename: ":memory:" } }, "memory", { use: "console" }]
        }, { needs: [TracerMemory.TracerMemory] })
      ),
      nothing
    ))

  it.live("gives tools by name, with a workspace of the configured sandbox", () =>
    Effect.gen(function*() {
      const toolkit = yield* Extensions.toolkit
      const model = ModelScripted.layer([
        ModelScripted.toolCall("write_file", { path: "a.txt", content: "abc" }),
        ModelScripted.toolCall("list_files", {}),
        ModelScripted.text("done")
      ])
      const agent = Agent.make({ name: "clerk", toolkit })
      const { items } = yield* Runner.run(agent, "Write a file.").pipe(Effect.provide(model))
      assert.include(JSON.stringify(items), "a.txt 3")
    }).pipe(Effect.provide(Extensions.layer({ sandbox: "virtual", tool: ["sandbox"] })), nothing))

  it.live("goes to another store where a server cannot be reached, and says so", () =>
    Effect.gen(function*() {
      const port = yield* Effect.callback<number>((resume) => {
        const server = net.createServer()
        server.listen(0, "127.0.0.1", () => {
          const { port } = server.address() as net.AddressInfo
          server.close(() => resume(Effect.succeed(port)))
        })
      })
      const url = `redis://:hush@127.0.0.1:${port}`
      const lines: Array<string> = []
      const logged = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
      yield* Effect.gen(function*() {
        const [running] = yield* (yield* Extension.ExtensionRegistry).running
        assert.strictEqual(running?.use, "memory")
        assert.strictEqual(running?.degraded?.reason.reason._tag, "Unavailable")
      }).pipe(
        Effect.provide(Extensions.layer({ session: { use: "redis", settings: { url }, fallback: "memory" } })),
        Effect.provide(logged)
      )
      assert.strictEqual(lines.filter((line) => line.includes("serves instead of")).length, 1)
      assert.notInclude(lines.join("\n"), "hush")
      const error = yield* build({ session: { use: "redis", settings: { url }, fallback: "memory", required: true } })
        .pipe(Effect.provide(Logger.layer([])))
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.include(error.message, `127.0.0.1:${port}`)
      assert.notInclude(error.message, "hush")
    }).pipe(nothing))
})

describe("files", () => {
  const read = (name: string, text: string) => Configuration.read(path.join(makeFolder({ [name]: text }), name))

  it.effect("of YAML and JSON", () =>
    Effect.gen(function*() {
      const expected = {
        session: { use: "postgres", wrap: ["cached", { use: "encrypted", settings: { keys: { env: "KEYS" } } }] },
        model: "openai"
      }
      assert.deepStrictEqual<unknown>(
        yield* read(
          "agent-layers.config.yaml",
          `session:
  use: postgres # the database
  wrap: [cached, { use: encrypted, settings: { keys: { env: KEYS } } }]
model: openai
`
        ),
        expected
      )
      assert.deepStrictEqual<unknown>(yield* read("agent-layers.config.json", JSON.stringify(expected)), expected)
    }))

  it.effect("that cannot be read say where, and quote no secret", () =>
    Effect.gen(function*() {
      const yaml = yield* Effect.flip(read("agent-layers.config.yaml", `session: ok\nkey: "hush\n`))
      assert.strictEqual(yaml.reason._tag, "LoadFailed")
      const json = yield* Effect.flip(read("agent-layers.config.json", `{ "key": "hush" "b": 1 }`))
      assert.match(json.message, /it is no JSON at (line|character) \d+/)
      const almost = yield* Effect.flip(read("agent-layers.config.json", `{ "key": "hush", }`))
      assert.include(almost.message, "after the last one there is no comma")
      const flow = yield* Effect.flip(read("agent-layers.config.yaml", "key: [hush, 1\nb: c"))
      assert.include(flow.message, "in brackets is not closed")
      const colon = yield* Effect.flip(read("agent-layers.config.yaml", "a: 1\nkey: hush: b"))
      assert.include(colon.message, "at line 2")
      for (const error of [yaml, json, almost, flow, colon]) {
        assert.notInclude(JSON.stringify([error.message, error.reason]), "hush")
      }
      assert.include(
        (yield* Effect.flip(Configuration.read("/nowhere/agent-layers.config.json"))).message,
        "it is not there"
      )
      assert.include((yield* Effect.flip(Configuration.read("config.toml"))).message, ".ts, .js, .json or .yaml")
    }))

  it.effect("are found in a folder; without one the configuration is empty", () =>
    Effect.gen(function*() {
      const folder = makeFolder({ "agent-layers.config.json": { model: "openai" } })
      assert.strictEqual(yield* Configuration.find(folder), path.join(folder, "agent-layers.config.json"))
      assert.deepStrictEqual(yield* Configuration.load(folder), { model: "openai" })
      assert.deepStrictEqual(yield* Configuration.load(makeFolder()), {})
    }))

  it("of TypeScript, in a project with an extension of a dependency, are built as they say", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": { name: "app", type: "module", dependencies: { "acme-store": "^1.0.0" } },
      "agent-layers.config.ts": `import { Configuration } from "agent-layers/extensions"
        const use: string = "acme"
        export default Configuration.define({ session: { use, settings: { size: 4 } }, environments: { bad: { session: { settings: { sise: 4 } } } } })`,
      "node_modules/acme-store/package.json": manifestOf("acme-store", [
        { kind: "session", name: "acme", entry: "./extension", description: "A store." }
      ]),
      "node_modules/acme-store/extension.js": sessionModule("acme", "")
    })
    const body = `answer(Effect.gen(function*() {
      const settings = Effect.flatMap(Extension.ExtensionRegistry, (registry) => registry.settings("session"))
      const shown = yield* Effect.provide(settings, Extensions.layerProject({ root, needs: [Session.Session] }))
      const bad = yield* told(Effect.provide(Effect.void, Extensions.layerProject({ root, environment: "bad" })))
      return { shown: shown.map(({ name, value, source }) => [name, value, source]), bad }
    }))`
    const { answer } = run<{ readonly shown: unknown; readonly bad: Told }>(folder, body, {
      AGENT_LAYERS_SESSION_ACME_URL: "https://acme"
    })
    assert.deepStrictEqual(answer.shown, [["url", "<redacted>", "environment"], ["size", 4, "file"]])
    assert.include(answer.bad.message, `session.settings.sise: there is no setting "sise"; did you mean "size"?`)
  })

  it("of TypeScript that throw, or export nothing, are told", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": { name: "app", type: "module" },
      "throwing.ts": `throw new Error("bad day")`,
      "empty.ts": `export const config = {}`
    })
    const { answer } = run<ReadonlyArray<Told>>(
      folder,
      `answer(Effect.all(["throwing.ts", "empty.ts"].map((file) => told(Configuration.read(root + "/" + file)))))`
    )
    assert.deepStrictEqual(answer.map(({ tag }) => tag), ["LoadFailed", "LoadFailed"])
    assert.include(answer[0]?.message, "importing it threw: bad day")
    assert.include(answer[1]?.message, "export default Configuration.define({ … })")
  })
})

describe("jsonSchema", () => {
  type Json = Readonly<Record<string, unknown>>

  /** As much of JSON Schema as the schema uses. */
  const accepts = (root: Json, schema: Json, value: unknown): boolean => {
    if (typeof schema["$ref"] === "string") {
      const name = schema["$ref"].replace("#/$defs/", "")
      const found = (root["$defs"] as Record<string, Json>)[name]
      assert.isDefined(found, name)
      return accepts(root, found!, value)
    }
    if (Array.isArray(schema["anyOf"]) && !schema["anyOf"].some((one) => accepts(root, one as Json, value))) {
      return false
    }
    if ("const" in schema && schema["const"] !== value) return false
    if (Array.isArray(schema["enum"]) && !schema["enum"].includes(value)) return false
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
    switch (schema["type"]) {
      case "string":
      case "boolean":
      case "number":
        if (typeof value !== schema["type"]) return false
        break
      case "integer":
        if (!Number.isInteger(value)) return false
        break
      case "null":
        if (value !== null) return false
        break
      case "array":
        return Array.isArray(value) &&
          value.every((one) => schema["items"] === undefined || accepts(root, schema["items"] as Json, one))
      case "object": {
        if (!isObject) return false
        const properties = (schema["properties"] ?? {}) as Record<string, Json>
        const more = schema["additionalProperties"]
        const required = (schema["required"] ?? []) as ReadonlyArray<string>
        return required.every((name) => name in value) &&
          Object.entries(value).every(([name, one]) =>
            Object.hasOwn(properties, name)
              ? accepts(root, properties[name]!, one)
              : more !== false && (typeof more !== "object" || accepts(root, more as Json, one))
          )
      }
    }
    return true
  }

  it.effect("accepts what is right, and refuses what is wrong", () =>
    Effect.gen(function*() {
      const registry = yield* Extensions.makeRegistry()
      const schema = yield* Configuration.jsonSchema(registry)
      const right: ReadonlyArray<unknown> = [
        {},
        { session: "memory", model: "openai" },
        {
          $schema: "x",
          session: {
            use: "postgres",
            settings: { url: { env: "URL" }, maxConnections: 5 },
            wrap: ["cached", { use: "encrypted", settings: { keys: [{ id: "1", secret: { env: "KEY" } }] } }],
            fallback: { use: "sqlite", settings: { filename: "x" } },
            required: false
          },
          mcp: { files: { use: "stdio", settings: { command: "x", args: ["y"] }, wrap: ["filtered"] } },
          tracer: ["console", { use: "otlp" }],
          tool: "sandbox",
          instances: { session: { archive: "s3" } },
          environments: { test: { model: null, session: { use: "memory" } }, live: { session: { required: true } } }
        }
      ]
      const wrong: ReadonlyArray<unknown> = [
        { sesion: "memory" },
        { session: "postgress" },
        { session: "encrypted" },
        { session: { use: "memory", wrap: ["sqlite"] } },
        { session: { use: "postgres", settings: { urls: "x" } } },
        { session: { use: "postgres", settings: { maxConnections: "many" } } },
        { session: { settings: {} } },
        { mcp: "stdio" },
        { environments: { test: { session: { requires: true } } } },
        { environments: { test: { environments: {} } } }
      ]
      for (const value of right) assert.isTrue(accepts(schema, schema, value), JSON.stringify(value))
      for (const value of wrong) assert.isFalse(accepts(schema, schema, value), JSON.stringify(value))
      // It is JSON.
      assert.deepStrictEqual(JSON.parse(JSON.stringify(schema)), schema)
    }))
})

describe("layerProject", () => {
  it.live("builds from variables alone", () =>
    Effect.gen(function*() {
      const folder = makeFolder({ "package.json": { name: "app" } })
      const layer = Extensions.layerProject({ root: folder, needs: [Session.Session] })
      const { capabilities } = yield* Effect.provide(Session.Session, layer)
      assert.isTrue(capabilities.versions)
    }).pipe(environment({ AGENT_LAYERS_SESSION: "memory", AGENT_LAYERS_SESSION_WRAP: "cached" })))
})
