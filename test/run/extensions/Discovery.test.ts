import { assert, describe, it } from "@effect/vitest"
import { makeFolder, manifestOf, peersIn, run, sessionModule, type Told, write } from "./project.ts"

const acme = (name = "acme") =>
  manifestOf("acme-store", [{ kind: "session", name, entry: "./extension", description: "A store." }])

const choose = (use: string) =>
  `Extensions.layer({ session: { use: ${JSON.stringify(use)}, settings: { url: "x" } } }, { root })`

const listing = `
const registry = yield* Extensions.makeRegistry({ root })
const list = (yield* registry.list).filter(({ origin }) => origin !== "agent-layers")
return list.map(({ name, kind, origin, version, extension }) => [kind, name, origin, version, extension === undefined])`

describe("discovery", () => {
  it("npm: finds what direct dependencies have, imports nothing until it is chosen, past closed exports", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": {
        name: "app",
        type: "module",
        dependencies: { "acme-store": "^1.0.0", "agent-layers": "*", plain: "*" }
      },
      "node_modules/acme-store/package.json": acme(),
      "node_modules/acme-store/extension.js": sessionModule("acme"),
      "node_modules/plain/package.json": { name: "plain", version: "1.0.0" },
      // Not a direct dependency.
      "node_modules/deep/package.json": manifestOf("deep", [{ kind: "session", name: "deep", entry: "./extension" }])
    })
    const listed = run<ReadonlyArray<unknown>>(folder, `answer(Effect.gen(function*() {${listing}}))`)
    assert.deepStrictEqual(listed.answer, [["session", "acme", "acme-store", "1.2.3", true]])
    assert.strictEqual(listed.stderr, "")
    const used = run<number>(
      folder,
      `answer(Effect.gen(function*() {
        const session = yield* Session.Session
        yield* session.saveItems("ada", [{ type: "message", role: "user", content: "hi" }])
        return (yield* session.loadItems("ada")).items.length
      }).pipe(Effect.provide(${choose("acme")})))`
    )
    assert.strictEqual(used.answer, 1)
    assert.strictEqual(used.stderr.trim(), "imported acme")
  })

  it("pnpm: finds it through links into a store, with peers beside it", () => {
    const store = "node_modules/.pnpm/acme-store@1.2.3/node_modules"
    const folder = makeFolder({
      ...peersIn(store),
      ...peersIn("node_modules"),
      "package.json": { name: "app", type: "module", dependencies: { "acme-store": "^1.0.0" } },
      [`${store}/acme-store/package.json`]: acme(),
      [`${store}/acme-store/extension.js`]: sessionModule("acme")
    })
    write(folder, { "node_modules/acme-store": { link: `${store}/acme-store` } })
    const { answer } = run<unknown>(
      folder,
      `answer(Session.Session.pipe(Effect.map(({ capabilities }) => capabilities.versions), Effect.provide(${
        choose("acme")
      })))`
    )
    assert.strictEqual(answer, true)
  })

  it("workspaces: finds a member that is linked at the top, and the project's own extensions", () => {
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": { name: "top", private: true, workspaces: ["packages/*"] },
      "packages/acme/package.json": acme(),
      "packages/acme/extension.js": sessionModule("acme"),
      "packages/app/package.json": manifestOf("app", [{ kind: "memory", name: "own", entry: "./own.js" }], {
        dependencies: { "acme-store": "*" }
      }),
      "packages/app/own.js": sessionModule("own")
    })
    write(folder, { "node_modules/acme-store": { link: "packages/acme" } })
    const { answer } = run<{ readonly list: unknown; readonly built: unknown }>(
      `${folder}/packages/app`,
      `answer(Effect.gen(function*() {
        const list = yield* Effect.gen(function*() {${listing}})
        const built = yield* Effect.all(["acme", "own"].map((use) => told(Effect.provide(Session.Session, Extensions.layer({ session: { use, settings: { url: "x" } } }, { root })))))
        return { list, built }
      }))`
    )
    assert.deepStrictEqual(answer.list, [
      ["session", "acme", "acme-store", "1.2.3", true],
      ["session", "own", "app", "1.2.3", true]
    ])
    assert.deepStrictEqual(answer.built, ["ok", "ok"])
  })

  it("tells what is wrong with a package, and harms no other", () => {
    const broken = (name: string, manifest: Readonly<Record<string, unknown>>) => ({
      [`node_modules/${name}/package.json`]: { ...manifest, name }
    })
    const names = ["kindless", "listless", "rangeless", "nameless", "unreadable", "absent", "twice", "acme-store"]
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": {
        name: "app",
        type: "module",
        dependencies: Object.fromEntries(names.map((name) => [name, "^1.0.0"])),
        optionalDependencies: { "not-here": "1.0.0" },
        devDependencies: { "nor-here": "1.0.0" }
      },
      ...broken("kindless", manifestOf("", [{ kind: "sesion", name: "x", entry: "./extension" }])),
      ...broken("listless", manifestOf("", [], { agentLayers: { extensions: "all" } })),
      ...broken("rangeless", manifestOf("", [], { peerDependencies: {} })),
      ...broken("nameless", manifestOf("", [{ kind: "session", name: "My Store", entry: "extension" }])),
      ...broken("twice", manifestOf("", [{ kind: "session", name: "sqlite", entry: "./extension" }])),
      "node_modules/unreadable/package.json": "{ nothing",
      "node_modules/acme-store/package.json": acme(),
      "node_modules/acme-store/extension.js": sessionModule("acme")
    })
    const { answer } = run<{ readonly broken: ReadonlyArray<readonly [string, Told]>; readonly built: unknown }>(
      folder,
      `answer(Effect.gen(function*() {
        const registry = yield* Extension.makeRegistry()
        yield* Catalogue.register(registry)
        const broken = yield* Discovery.register(registry, root)
        const built = yield* told(Effect.provide(Session.Session, ${choose("acme")}))
        return { broken: broken.map(({ package: name, error }) => [name, { tag: error.reason._tag, message: error.message }]), built }
      }))`
    )
    assert.strictEqual(answer.built, "ok")
    const of = (name: string) =>
      answer.broken.filter(([one]) => one === name).map(([, told]) => `${told.tag}: ${told.message}`)
    assert.include(
      of("kindless")[0],
      "InvalidExtension: package \"kindless\": `agentLayers.extensions[0].kind` should be one of"
    )
    assert.include(of("kindless")[0], `is "sesion"`)
    assert.include(of("listless")[0], "`agentLayers.extensions` should be a list, and is \"all\"")
    assert.include(of("rangeless")[0], "peerDependencies[\"agent-layers\"]` should be a range of versions")
    assert.strictEqual(of("nameless").length, 2)
    assert.include(of("unreadable")[0], "LoadFailed")
    assert.include(of("unreadable")[0], "Install the package anew")
    assert.include(
      of("absent")[0],
      `MissingPackage: package "absent": it needs the package "absent". Install it: npm install`
    )
    assert.include(of("twice")[0], `Duplicate: session "sqlite": the name is taken: by agent-layers and by twice`)
    assert.deepStrictEqual(of("not-here"), [])
    assert.deepStrictEqual(of("nor-here"), [])
    assert.strictEqual(answer.broken.length, 8)
  })

  it("refuses an extension that cannot be used, with what to do", () => {
    const module = (
      name: string,
      files: Readonly<Record<string, string>>,
      more: Readonly<Record<string, unknown>> = {}
    ) => ({
      [`node_modules/${name}/package.json`]: manifestOf(
        name,
        [{ kind: "session", name, entry: "./extension" }],
        more
      ),
      ...Object.fromEntries(Object.entries(files).map(([file, text]) => [`node_modules/${name}/${file}`, text]))
    })
    const names = [
      "throwing",
      "lacking",
      "shapeless",
      "misnamed",
      "futuristic",
      "doubled",
      "entryless",
      "outside",
      "copied"
    ]
    const folder = makeFolder({
      ...peersIn("node_modules"),
      "package.json": {
        name: "app",
        type: "module",
        dependencies: Object.fromEntries(names.map((name) => [name, "*"]))
      },
      ...module("throwing", { "extension.js": `throw new Error("bad day")` }),
      ...module("lacking", { "extension.js": `import "acme-client"\nexport default {}` }, {
        dependencies: { "acme-client": "^2.0.0" }
      }),
      ...module("shapeless", { "extension.js": `export default { kind: "session", name: "shapeless" }` }),
      ...module("misnamed", { "extension.js": sessionModule("another") }),
      ...module("futuristic", { "extension.js": `throw new Error("is not imported")` }, {
        peerDependencies: { "agent-layers": "^7.0.0" }
      }),
      ...module("doubled", {
        "extension.js": `throw new Error("is not imported")`,
        "node_modules/effect/package.json": JSON.stringify({ name: "effect", version: "4.0.5" })
      }),
      ...module("entryless", {}),
      ...module("outside", { "extension.js": "" }, {
        agentLayers: { extensions: [{ kind: "session", name: "outside", entry: "./../throwing/extension.js" }] }
      }),
      // A file that a bundler put agent-layers into.
      ...module("copied", {
        "extension.js": `export default {
          "~agent-layers/services/Extension": { version: "0.1.0" }, kind: "session", name: "copied", version: "1.0.0",
          compatibleWith: "^0.1.0", description: "A store.", config: {}, layer: () => {}, decorates: false, needs: [] }`
      })
    })
    const { answer } = run<Record<string, Told>>(
      folder,
      `answer(Effect.gen(function*() {
        const all = {}
        for (const use of ${JSON.stringify(names)}) {
          all[use] = yield* told(Effect.provide(Session.Session, Extensions.layer({ session: { use, settings: { url: "x" } } }, { root })))
        }
        return all
      }))`
    )
    const expected: Record<string, readonly [tag: string, ...parts: ReadonlyArray<string>]> = {
      throwing: ["LoadFailed", "throwing/extension.js threw: bad day"],
      lacking: ["MissingPackage", `npm install acme-client@"^2.0.0"`],
      shapeless: ["InvalidExtension", "`version` should be a version"],
      misnamed: ["InvalidExtension", "`name` should be \"misnamed\", as the manifest says, and is \"another\""],
      futuristic: ["Incompatible", "agent-layers ^7.0.0, and this is 0.1.0", `npm install agent-layers@"^7.0.0"`],
      doubled: ["SecondCopy", "a second copy of effect", "4.0.5 in ", "peerDependencies"],
      entryless: [
        "InvalidExtension",
        "`agentLayers.extensions[0].entry` should be a subpath of its `exports` or a file in it"
      ],
      outside: ["InvalidExtension", "which is neither"],
      copied: ["SecondCopy", "a second copy of agent-layers"]
    }
    for (const [name, [tag, ...parts]] of Object.entries(expected)) {
      assert.strictEqual(answer[name]?.tag, tag, `${name}: ${answer[name]?.message}`)
      for (const part of parts) assert.include(answer[name]?.message, part)
    }
  })

  it("says where there is no project", () => {
    const folder = makeFolder(peersIn("node_modules"))
    const { answer } = run<Told>(folder, `answer(told(Discovery.discover(root)))`)
    assert.strictEqual(answer.tag, "LoadFailed")
    assert.include(answer.message, "Name the folder that has it")
  })
})
