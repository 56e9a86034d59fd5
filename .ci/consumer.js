// What a user gets: installs the packed tarball in folders outside of the checkout and uses it from there.
import { spawnSync } from "node:child_process"
import fs from "node:fs"
import path from "node:path"
import { modules, readManifest } from "../test/support/packageExports.ts"

const run = (cwd, command, args, env = {}) => {
  const { NODE_OPTIONS: _, ...inherited } = process.env
  const result = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...inherited, ...env }, timeout: 120_000 })
  if (result.error !== undefined) throw result.error
  return { code: result.status, output: `${result.stdout}${result.stderr}`, stdout: result.stdout }
}

const expectSuccess = (what, result) => {
  if (result.code !== 0) throw new Error(`${what} failed (${result.code}):\n${result.output}`)
  return result
}

const writeJson = (file, value) => fs.writeFileSync(file, JSON.stringify(value, null, 2))

/** The packages that some packages of the lock file bring, they themselves included. */
const closure = (lock, names) => {
  const seen = new Set()
  const visit = (name) => {
    const entry = lock.packages[`node_modules/${name}`]
    if (entry === undefined || seen.has(name)) return
    seen.add(name)
    const optionalPeers = entry.peerDependenciesMeta ?? {}
    const peers = Object.keys(entry.peerDependencies ?? {}).filter((peer) => optionalPeers[peer]?.optional !== true)
    for (const next of [...Object.keys(entry.dependencies ?? {}), ...peers]) visit(next)
  }
  names.forEach(visit)
  return seen
}

const compilerOptions = (root) => ({
  target: "ES2023",
  lib: ["ES2023", "DOM"],
  module: "NodeNext",
  moduleResolution: "NodeNext",
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  types: ["node"],
  typeRoots: [path.join(root, "node_modules", "@types")]
})

const importAll = (specifiers) =>
  specifiers.map((specifier, index) => `import * as m${index} from ${JSON.stringify(specifier)}`).join("\n") +
  `\nexport const all = [${specifiers.map((_, index) => `m${index}`).join(", ")}]\n`

// Loads every specifier, and says which failed by a package that is not there, and which packages were loaded.
const probe = `
import { registerHooks } from "node:module"
const loaded = new Set()
registerHooks({
  load(url, context, next) {
    const found = /\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\/(?!.*\\/node_modules\\/)/.exec(url)
    if (found !== null) loaded.add(found[1])
    return next(url, context)
  }
})
const absent = {}
for (const specifier of process.argv.slice(2)) {
  try {
    await import(specifier)
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw new Error(specifier + " does not load", { cause: error })
    absent[specifier] = /package '([^']+)'/.exec(error.message)?.[1] ?? error.message
  }
}
console.log(JSON.stringify({ absent, loaded: [...loaded] }))
`

/** A user who has installed agent-layers and its two peers, and nothing else. */
const bare = (root, folder, tarball) => {
  const manifest = readManifest(root)
  const lock = JSON.parse(fs.readFileSync(path.join(root, "package-lock.json"), "utf8"))
  const required = Object.keys(manifest.peerDependencies)
    .filter((name) => manifest.peerDependenciesMeta[name]?.optional !== true)
  const optional = new Set(Object.keys(manifest.peerDependencies).filter((name) => !required.includes(name)))
  const { closed, open } = modules(root)

  fs.mkdirSync(folder)
  writeJson(path.join(folder, "package.json"), {
    name: "consumer",
    private: true,
    type: "module",
    dependencies: {
      [manifest.name]: `file:${tarball}`,
      ...Object.fromEntries(required.map((name) => [name, manifest.devDependencies[name]]))
    }
  })
  expectSuccess(
    "npm install of the tarball",
    run(folder, "npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"])
  )

  const listed = expectSuccess(
    "npm ls",
    run(folder, "npm", ["ls", "--omit=dev", "--all", "--json", "--loglevel=error"])
  )
  const allowed = closure(lock, required).add(manifest.name)
  const surplus = []
  const walk = (node) => {
    for (const [name, child] of Object.entries(node.dependencies ?? {})) {
      // An optional peer that is not installed is listed without a version.
      if (child.version === undefined) continue
      if (!allowed.has(name)) surplus.push(name)
      walk(child)
    }
  }
  walk(JSON.parse(listed.stdout))
  if (surplus.length > 0) throw new Error(`a user's install holds more than the peers bring: ${surplus.join(", ")}`)
  const top = Object.keys(JSON.parse(listed.stdout).dependencies).sort().join(" ")
  const wanted = [manifest.name, ...required].sort().join(" ")
  if (top !== wanted) throw new Error(`npm ls --omit=dev shows ${top}, expected ${wanted}`)

  fs.writeFileSync(path.join(folder, "probe.js"), probe)
  const light = open.filter(({ source }) => !source.startsWith("src/layers/")).map(({ specifier }) => specifier)
  const probed = expectSuccess("importing the root, services and run", run(folder, "node", ["probe.js", ...light]))
  const { absent, loaded } = JSON.parse(probed.stdout)
  if (Object.keys(absent).length > 0) throw new Error(`needs an optional package: ${JSON.stringify(absent)}`)
  const clients = loaded.filter((name) => optional.has(name) || name.startsWith("@redis/"))
  if (clients.length > 0) {
    throw new Error(`importing the root or services loads optional clients: ${clients.join(", ")}`)
  }

  const heavy = open.filter(({ source }) => source.startsWith("src/layers/")).map(({ specifier }) => specifier)
  const layers = JSON.parse(expectSuccess("importing the layers", run(folder, "node", ["probe.js", ...heavy])).stdout)
  const stray = Object.entries(layers.absent).filter(([, name]) => !optional.has(name))
  if (stray.length > 0) throw new Error(`a layer imports a package that is no peer: ${JSON.stringify(stray)}`)

  fs.writeFileSync(
    path.join(folder, "closed.js"),
    `for (const specifier of process.argv.slice(2)) {
      const error = await import(specifier).then(() => undefined, (error) => error)
      if (error?.code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw new Error(specifier + " can be imported: " + error)
    }`
  )
  if (closed.length === 0) throw new Error("no internal module found: the check would prove nothing")
  expectSuccess("closed folders", run(folder, "node", ["closed.js", ...closed.map(({ specifier }) => specifier)]))
  return `${light.length + heavy.length} modules load, ${closed.length} are closed`
}

/** A user who has every optional peer: the checkout's own packages, linked, and the tarball unpacked between them. */
const full = (root, folder, tarball) => {
  const modulesFolder = path.join(folder, "node_modules")
  fs.mkdirSync(path.join(modulesFolder, "agent-layers"), { recursive: true })
  expectSuccess("tar", run(folder, "tar", ["-xzf", tarball, "-C", "node_modules/agent-layers", "--strip-components=1"]))
  const manifest = readManifest(root)
  for (const name of Object.keys(manifest.peerDependencies)) {
    const link = path.join(modulesFolder, name)
    fs.mkdirSync(path.dirname(link), { recursive: true })
    fs.symlinkSync(path.join(root, "node_modules", name), link)
  }
  const { open } = modules(root)
  const specifiers = open.map(({ specifier }) => specifier)
  writeJson(path.join(folder, "package.json"), { name: "consumer", private: true, type: "module" })
  writeJson(path.join(folder, "tsconfig.json"), { compilerOptions: compilerOptions(root), include: ["*.ts"] })
  fs.writeFileSync(path.join(folder, "all.ts"), importAll(specifiers))
  fs.copyFileSync(path.join(root, "examples", "hello.ts"), path.join(folder, "hello.ts"))
  expectSuccess("tsc with skipLibCheck off", run(folder, path.join(root, "node_modules", ".bin", "tsc"), ["-p", "."]))
  fs.writeFileSync(path.join(folder, "probe.js"), probe)
  const { absent } = JSON.parse(expectSuccess("imports", run(folder, "node", ["probe.js", ...specifiers])).stdout)
  if (Object.keys(absent).length > 0) throw new Error(`a package is no peer: ${JSON.stringify(absent)}`)
  const said = expectSuccess("examples/hello.ts", run(folder, "node", ["--no-warnings", "hello.ts"])).stdout.trim()
  if (said === "") throw new Error("examples/hello.ts printed nothing")
  return `${specifiers.length} modules compile and load; hello.ts runs`
}

export const consumer = (root, scratch, tarball) =>
  [
    bare(root, path.join(scratch, "bare"), tarball),
    full(root, path.join(scratch, "full"), tarball)
  ].join("; ")

if (process.argv[1] === import.meta.filename) {
  const [root, scratch, tarball] = process.argv.slice(2)
  console.log(consumer(root, scratch, tarball))
}
