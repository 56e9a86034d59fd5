/** Which modules can be imported, and what importing them does. */
import { assert, describe, it } from "@effect/vitest"
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { modules, readManifest, sourceFiles } from "../support/packageExports.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const manifest = readManifest(root)
const { closed, open } = modules(root)

const node = (script: string, args: ReadonlyArray<string>) => {
  const { NODE_OPTIONS: _, ...env } = process.env
  return childProcess.spawnSync(
    process.execPath,
    ["--conditions=agent-layers:source", "--input-type=module", "-e", script, "--", ...args],
    { cwd: root, encoding: "utf8", env, timeout: 240_000 }
  )
}

const json = <A>(script: string, args: ReadonlyArray<string>): A => {
  const { status, stderr, stdout } = node(script, args)
  assert.strictEqual(status, 0, stderr)
  return JSON.parse(stdout) as A
}

describe("exports", () => {
  const resolved = json<Array<{ readonly url?: string; readonly code?: string }>>(
    `import { pathToFileURL } from "node:url"
    const parent = pathToFileURL(process.cwd() + "/index.js").href
    console.log(JSON.stringify(process.argv.slice(1).map((name) => {
      try { return { url: import.meta.resolve(name, parent) } } catch (error) { return { code: error.code } }
    })))`,
    [...open, ...closed].map(({ specifier }) => specifier)
  )

  it("reaches each public module of src by name", () => {
    assert.isNotEmpty(open)
    open.forEach(({ source, specifier }, index) => {
      const { url } = resolved[index] ?? {}
      assert.isString(url, specifier)
      assert.strictEqual(path.relative(root, fileURLToPath(url as string)), source)
    })
  })

  it("closes the folders named internal, and nothing else", () => {
    closed.forEach(({ specifier }, index) => {
      assert.strictEqual(resolved[open.length + index]?.code, "ERR_PACKAGE_PATH_NOT_EXPORTED", specifier)
    })
    const internal = sourceFiles(root).filter((file) => file.includes("/internal/"))
    assert.sameMembers(closed.map(({ source }) => source), internal)
  })

  it("closes the internal folder of each part of the house, whether or not it has one yet", () => {
    const parts = [
      "services",
      "services/laws",
      ...["session", "model", "sandbox", "tracer", "mcp", "tools", "journal", "sql"].map((kind) => `layers/${kind}`),
      ...["run", "run/extensions", "run/testing", "run/http", "run/cli"]
    ]
    for (const part of parts) assert.isNull(manifest.exports[`./${part}/internal/*`], part)
  })

  it("opens the folder of each kind of layer that there is, and of no other", () => {
    const kinds = fs.readdirSync(path.join(root, "src", "layers")).filter((kind) => kind !== "internal")
    const opened = Object.keys(manifest.exports).flatMap((key) => /^\.\/layers\/([^/]+)\/\*$/.exec(key)?.[1] ?? [])
    assert.sameMembers(opened, kinds)
  })

  it("offers for each module the source first, then types, then JavaScript", () => {
    for (const [key, target] of Object.entries(manifest.exports)) {
      if (target === null || typeof target === "string") continue
      assert.deepStrictEqual(Object.keys(target), ["agent-layers:source", "types", "default"], key)
      const inside = target["agent-layers:source"].replace("./src/", "").replace(/\.ts$/, "")
      assert.strictEqual(target.types, `./dist/${inside}.d.ts`)
      assert.strictEqual(target.default, `./dist/${inside}.js`)
    }
  })
})

describe("importing", () => {
  const optional = new Set(
    Object.keys(manifest.peerDependencies).filter((name) => manifest.peerDependenciesMeta[name]?.optional === true)
  )
  const light = open.filter(({ source }) => source.startsWith("src/services/") || source === "src/index.ts")

  // In the child: the packages that anything is loaded from.
  const recordLoaded = `import { registerHooks } from "node:module"
    const loaded = new Set()
    registerHooks({ load: (url, context, next) => {
      const found = /.*\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)
      if (found !== null) loaded.add(found[1])
      return next(url, context)
    } })`

  // In the child: whatever the modules load, print, listen to or keep open shows in its answer.
  const script = `${recordLoaded}
    const globals = Object.getOwnPropertyNames(globalThis).length
    const environment = JSON.stringify(process.env)
    const listeners = JSON.stringify(process.eventNames().map(String))
    for (const name of process.argv.slice(1)) await import(name)
    const { default: process_ } = await import("node:process")
    console.log(JSON.stringify({
      loaded: [...loaded],
      globals: Object.getOwnPropertyNames(globalThis).length - globals,
      environment: JSON.stringify(process.env) === environment,
      listeners: JSON.stringify(process_.eventNames().map(String)) === listeners,
      resources: process_.getActiveResourcesInfo().filter((name) => !/Pipe|TTY|FSReq|Promise/.test(name))
    }))`

  it("the root or services loads effect, and no client; it prints nothing and leaves nothing behind", () => {
    assert.isTrue(light.some(({ source }) => source === "src/index.ts"))
    const found = json<{
      readonly loaded: ReadonlyArray<string>
      readonly globals: number
      readonly environment: boolean
      readonly listeners: boolean
      readonly resources: ReadonlyArray<string>
    }>(script, light.map(({ specifier }) => specifier))
    assert.include(found.loaded, "effect")
    assert.deepStrictEqual(found.loaded.filter((name) => optional.has(name) || name.startsWith("@redis/")), [])
    assert.strictEqual(found.globals, 0)
    assert.isTrue(found.environment)
    assert.isTrue(found.listeners)
    assert.deepStrictEqual(found.resources, [])
  })

  it("the root and running an agent loads effect, and no client of a backend", () => {
    const hello = pathToFileURL(path.join(root, "examples", "hello.ts")).href
    const { status, stderr, stdout } = node(
      `${recordLoaded}
      process.on("exit", () => console.log(JSON.stringify([...loaded].sort())))
      await import("agent-layers")
      await import(process.argv[1])`,
      [hello]
    )
    assert.strictEqual(status, 0, stderr)
    const lines = stdout.trim().split("\n")
    assert.strictEqual(lines[0], "A Layer is a recipe for a service.")
    // Not redis, pg, openai, the MCP SDK, OpenTelemetry, nor the AWS SDK: nothing but effect.
    assert.deepStrictEqual(JSON.parse(lines.at(-1)!), [
      "@effect/platform-node",
      "@effect/platform-node-shared",
      "effect"
    ])
  })

  it("the checks above see a client that is loaded, and a global that is set", () => {
    const folder = fs.mkdtempSync(path.join(root, "node_modules", ".agent-layers-"))
    try {
      const file = path.join(folder, "loud.mjs")
      fs.writeFileSync(file, `import "redis"\nglobalThis.loud = 1\n`)
      const found = json<{ readonly loaded: ReadonlyArray<string>; readonly globals: number }>(script, [file])
      assert.include(found.loaded, "redis")
      assert.isAbove(found.globals, 0)
    } finally {
      fs.rmSync(folder, { recursive: true })
    }
  })
})
