/** `agent-layers extensions new`: a package with an extension, which builds, tests and packs at once. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Extension from "../../../services/Extension.ts"
import { nearest } from "../../../services/internal/nearest.ts"
import { failed, type Failure, misused } from "./failure.ts"
import { mcp } from "./scaffoldMcp.ts"
import { model } from "./scaffoldModel.ts"
import { sandbox } from "./scaffoldSandbox.ts"
import { session } from "./scaffoldSession.ts"
import { extensionTest, type Template } from "./scaffoldTemplate.ts"
import { tool } from "./scaffoldTool.ts"
import { tracer } from "./scaffoldTracer.ts"

/** A file of the package: its path with `/`, and its text. */
export interface File {
  readonly path: string
  readonly content: string
}

export interface Scaffold {
  readonly kind: Extension.KindName
  /** Of the extension. The package is called `agent-layers-<kind>-<name>`. */
  readonly name: string
  readonly packageName: string
  readonly files: ReadonlyArray<File>
}

const templates: { readonly [K in Extension.KindOf<Extension.KindName>]: Template } = {
  session,
  model,
  sandbox,
  tracer,
  mcp,
  tool
}

/** What the package is built and tested with. */
const tools = {
  "@effect/platform-node": "^4.1.0",
  "@effect/vitest": "^4.0.5",
  "@types/node": "^24.0.0",
  effect: "^4.1.0",
  typescript: "^7.0.2",
  vitest: "^5.1.1"
}

const encode = Schema.encodeSync(Schema.fromJsonString(Schema.Json, { space: 2 }))

const json = (value: Schema.Json): string => `${encode(value)}\n`

const pascal = (name: string): string =>
  name.split("-").map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join("")

const compilerOptions = {
  target: "ES2023",
  lib: ["ES2023", "DOM"],
  module: "NodeNext",
  moduleResolution: "NodeNext",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
  resolveJsonModule: true,
  skipLibCheck: true
}

const manifestOf = (packageName: string, kind: string, name: string, template: Template): Schema.Json => {
  const usesNode = template.source.includes("@effect/platform-node")
  return {
    name: packageName,
    version: "0.1.0",
    description: template.description,
    license: "MIT",
    keywords: ["agent-layers", `agent-layers-${kind}`, "effect"],
    type: "module",
    sideEffects: false,
    engines: { node: ">=22.19" },
    files: ["dist", "src"],
    exports: {
      "./package.json": "./package.json",
      ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
      "./extension": { types: "./dist/extension.d.ts", default: "./dist/extension.js" }
    },
    agentLayers: {
      extensions: [{ kind, name, entry: "./extension", description: template.description }]
    },
    scripts: {
      build: "tsc -p tsconfig.build.json",
      typecheck: "tsc --noEmit",
      test: "vitest run",
      prepack: "npm run build"
    },
    peerDependencies: {
      ...(usesNode ? { "@effect/platform-node": tools["@effect/platform-node"] } : {}),
      "agent-layers": `^${Extension.version}`,
      effect: tools.effect
    },
    devDependencies: { ...tools, "agent-layers": `^${Extension.version}` }
  }
}

const readmeOf = (packageName: string, kind: string, name: string, template: Template): string => {
  const config: Readonly<Record<string, string>> = {
    tracer: `{ "tracer": ["${name}"] }`,
    tool: `{ "tool": ["${name}"] }`,
    mcp: `{ "mcp": { "my-server": "${name}" } }`
  }
  return `# ${packageName}

${template.description} An extension for [agent-layers](https://www.npmjs.com/package/agent-layers).

\`\`\`sh
npm install ${packageName}
\`\`\`

By name, in \`agent-layers.config.json\`:

\`\`\`json
${config[kind] ?? `{ "${kind}": "${name}" }`}
\`\`\`

In code: \`import { ${template.module} } from "${packageName}"\`, and \`${template.module}.layer\`.

## Working on it

\`\`\`sh
npm install
npm test                             # the laws of its kind, and the extension by its name
npm run build
npx agent-layers extensions check    # the manifest, the versions, the laws and the package
npm pack
npm publish --dry-run
\`\`\`
`
}

const ci = `name: CI
on:
  push:
  pull_request:
jobs:
  test:
    runs-on: ubuntu-latest
    strategy:
      matrix:
        node: [22, 24]
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-node@v5
        with:
          node-version: \${{ matrix.node }}
      - run: npm install
      - run: npm run typecheck
      - run: npm test
      - run: npm pack --dry-run
`

const license = (packageName: string) =>
  `MIT License

Copyright (c) the authors of ${packageName}

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
`

const isKind = (kind: string): kind is Extension.KindName => Object.hasOwn(templates, Extension.kindOf(kind as never))

/** The files of a package for a kind and a name; nothing is written. */
export const scaffold = (kind: string, name: string): Result.Result<Scaffold, Failure> => {
  if (!isKind(kind)) {
    const kinds = [...Object.keys(templates), "memory", "model_provider"]
    const like = nearest(kind, kinds)
    return Result.fail(misused(
      `There is no kind of extension "${kind}"${like === undefined ? "" : `; did you mean "${like}"?`}`,
      `Name one of: ${kinds.join(", ")}`
    ))
  }
  if (!/^[a-z][a-z\d]*(-[a-z\d]+)*$/.test(name) || name.length > 60) {
    return Result.fail(misused(
      `"${name}" is no name for an extension`,
      `Take small letters, digits and "-", such as "acme" or "acme-store"`
    ))
  }
  const of = Extension.kindOf(kind)
  const template = templates[of]
  const packageName = `agent-layers-${of}-${name}`
  const words: Readonly<Record<string, string>> = {
    "@PACKAGE@": packageName,
    "@CONSTANT@": name.toUpperCase().replaceAll("-", "_"),
    "@COMPATIBLE@": `^${Extension.version}`,
    "@DESCRIPTION@": template.description,
    "@SETTINGS@": template.settings,
    Acme: pascal(name),
    acme: name
  }
  const named = (text: string): string => text.replaceAll(/@[A-Z]+@|Acme|acme/g, (word) => words[word] ?? word)
  const module = named(template.module)
  if (new RegExp(`\\b${module}\\b`).test(`${template.source}${template.test}`.replaceAll("Acme", ""))) {
    return Result.fail(misused(`"${name}" is taken: agent-layers has a module ${module}`, "Take another name"))
  }
  const own = { ...template, module }
  return Result.succeed({
    kind: of,
    name,
    packageName,
    files: [
      { path: "package.json", content: json(manifestOf(packageName, of, name, own)) },
      {
        path: "tsconfig.json",
        content: json({ compilerOptions: { ...compilerOptions, noEmit: true }, include: ["src", "test"] })
      },
      {
        path: "tsconfig.build.json",
        content: json({
          extends: "./tsconfig.json",
          compilerOptions: { noEmit: false, rootDir: "src", outDir: "dist", declaration: true, sourceMap: true },
          include: ["src"]
        })
      },
      { path: ".gitignore", content: "node_modules\ndist\n*.tgz\n" },
      { path: ".github/workflows/ci.yml", content: ci },
      { path: "LICENSE", content: license(packageName) },
      { path: "README.md", content: readmeOf(packageName, of, name, own) },
      { path: "src/index.ts", content: `export * as ${module} from "./${module}.ts"\n` },
      { path: `src/${module}.ts`, content: named(template.source) },
      { path: "src/extension.ts", content: named(template.extension) },
      { path: `test/${template.testName}.test.ts`, content: named(template.test) },
      { path: "test/extension.test.ts", content: named(extensionTest) }
    ]
  })
}

/**
 * Writes the files into a folder, which is made where it is missing. Fails where it holds anything, and writes nothing
 * then.
 */
export const write = Effect.fnUntraced(function*(
  { files }: Scaffold,
  folder: string
): Effect.fn.Return<void, Failure, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const refused = (cause: { readonly message: string }) =>
    failed(`"${folder}" cannot be written: ${cause.message}`, "Name a folder that you may write to", cause)
  const existing = yield* fs.exists(folder).pipe(
    Effect.flatMap((exists) => exists ? fs.readDirectory(folder) : Effect.succeed([])),
    Effect.mapError(refused)
  )
  if (existing.length > 0) {
    return yield* failed(`"${folder}" is not empty`, "Name another folder, or empty this one; nothing was written")
  }
  yield* Effect.forEach(files, ({ content, path: file }) => {
    const full = path.join(folder, ...file.split("/"))
    return Effect.andThen(
      fs.makeDirectory(path.dirname(full), { recursive: true }),
      fs.writeFileString(full, content, { flag: "wx" })
    )
  }, { discard: true }).pipe(Effect.mapError(refused))
})
