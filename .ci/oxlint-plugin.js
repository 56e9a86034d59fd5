// House rules for oxlint: who may import whom. Paths are taken relative to the folder oxlint was started in.
import path from "node:path"

const edges = new Set(["extensions", "testing", "http", "cli"])

const isEffect = (name) => name === "effect" || name.startsWith("effect/")

const packageName = (specifier) => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")

// Several packages can be one client: the bridge and the SDK that it speaks to.
const clientOf = (name) =>
  name === "@effect/opentelemetry" || name.startsWith("@opentelemetry/") ? "opentelemetry" : name

const place = (file) => {
  const [top, area, kind, ...rest] = file.split("/")
  if (top !== "src") return { top }
  if (kind === undefined) return { top, area: "root" }
  if (area === "run") return { top, area, edge: rest.length > 0 && edges.has(kind) ? kind : undefined }
  if (area === "layers") {
    return { top, area, kind: rest.length > 0 ? kind : undefined, internal: rest[0] === "internal" }
  }
  return { top, area }
}

/** The reason why `from` must not import `specifier`, or undefined. */
const refuse = (file, specifier) => {
  const from = place(file)
  const isRelative = specifier.startsWith(".")
  const target = isRelative ? path.posix.join(path.posix.dirname(file), specifier) : undefined
  const to = target === undefined ? undefined : place(target)

  if (from.top === "test" || from.top === "examples") {
    if (to?.top !== "src") return undefined
    return from.top === "test" && target.includes("/internal/")
      ? undefined
      : "examples and tests import by package name: agent-layers/..."
  }
  if (from.top !== "src") return undefined

  if (packageName(specifier) === "agent-layers") return "inside src, import by relative path"
  if (to !== undefined && to.top !== "src") return "src imports nothing outside of src"
  if (from.area === "root") return undefined
  if (to?.area === "root") return "nothing in src imports the root entry"

  const isNode = specifier.startsWith("node:")
  const isPackage = !isRelative && !isNode && !isEffect(specifier)

  switch (from.area) {
    case "services": {
      if (isNode) return "services use no node: module; take FileSystem, Path, Clock, ... from effect"
      if (isPackage) return "services import effect and each other, no other package"
      return to === undefined || to.area === "services" ? undefined : "services import only services"
    }
    case "layers": {
      if (to === undefined || to.area === "services") return undefined
      if (to.area === "run") return "layers never import run"
      if (to.kind === "internal" || to.kind === "sql") return undefined
      return to.kind === from.kind && to.internal
        ? undefined
        : "a layer imports no other layer; share code in its internal folder or in layers/sql"
    }
    case "run": {
      if (from.edge === undefined) {
        if (isNode) return "run uses no node: module, except in extensions, testing, http and cli"
        if (isPackage) return "run imports effect and no other package, except in extensions, testing, http and cli"
        if (to?.area === "layers") return "in run only extensions, testing, http and cli import layers"
        return to?.edge === undefined ? undefined : `the loop does not import run/${to.edge}`
      }
      return isPackage && packageName(specifier) !== "@effect/platform-node"
        ? "run loads no third-party client; a layer does"
        : undefined
    }
    default:
      return "src has the folders services, layers and run, and index.ts"
  }
}

const relativeName = (context) => path.relative(context.cwd, context.filename).split(path.sep).join("/")

const onImports = (visit) => {
  const declaration = (node) => {
    if (node.source) visit(node.source, node.source.value)
  }
  const literal = (node, source) => {
    if (source?.type === "Literal" && typeof source.value === "string") visit(source, source.value)
  }
  return {
    ImportDeclaration: declaration,
    ExportNamedDeclaration: declaration,
    ExportAllDeclaration: declaration,
    ImportExpression: (node) => literal(node, node.source),
    TSImportType: (node) => literal(node, node.source ?? node.argument?.literal)
  }
}

const direction = {
  create(context) {
    const file = relativeName(context)
    return onImports((node, specifier) => {
      const message = refuse(file, specifier)
      if (message !== undefined) context.report({ node, message })
    })
  }
}

const oneClient = {
  create(context) {
    const file = relativeName(context)
    if (!file.startsWith("src/layers/")) return {}
    let first
    return onImports((node, specifier) => {
      if (specifier.startsWith(".") || specifier.startsWith("node:") || isEffect(specifier)) return
      const name = packageName(specifier)
      if (name === "@effect/platform-node") return
      const client = clientOf(name)
      first ??= client
      if (client !== first) {
        context.report({ node, message: `a layer file has at most one third-party client: ${first} is here already` })
      }
    })
  }
}

const namespaceImports = {
  create(context) {
    if (!relativeName(context).startsWith("src/")) return {}
    return onImports((node, specifier) => {
      if (specifier === "effect" || specifier === "@effect/platform-node" || specifier === "@effect/sql-pg") {
        context.report({ node, message: `src imports one module at a time: import * as X from "${specifier}/X"` })
      }
    })
  }
}

/** The names in `it.effect.each(rows)`: it, effect, each. */
const namesOf = (node) => {
  switch (node?.type) {
    case "Identifier":
      return [node.name]
    case "MemberExpression":
      return [...namesOf(node.object), ...(node.property.type === "Identifier" ? [node.property.name] : [])]
    case "CallExpression":
      return namesOf(node.callee)
    default:
      return []
  }
}

const isFunction = (node) => node?.type === "ArrowFunctionExpression" || node?.type === "FunctionExpression"

/** Whether the node is `new Promise((resolve) => setTimeout(resolve, …))`. */
const isPromisedTimer = ({ arguments: [executor], callee }) => {
  if (callee.type !== "Identifier" || callee.name !== "Promise" || !isFunction(executor)) return false
  const { body, params: [resolve] } = executor
  const only = body.type !== "BlockStatement" ? body : body.body.length === 1 ? body.body[0].expression : undefined
  if (only?.type !== "CallExpression" || namesOf(only.callee).at(-1) !== "setTimeout") return false
  const [called] = only.arguments
  const calls = isFunction(called) ? called.body : called
  return resolve?.type === "Identifier" && namesOf(calls)[0] === resolve.name
}

/** Whether the function is the body of an effect, and so a part of the function around it. */
const isPartOf = ({ parent }) =>
  parent?.type === "CallExpression" &&
  /^Effect\.(gen|promise|suspend|tryPromise)$/.test(namesOf(parent.callee).join("."))

const bareSleepMessage =
  "a bare sleep makes a test a matter of luck: wait for a condition by `until` of test/support/" +
  "until.ts, use TestClock or a gate, or say by `stays` or `allowTimeFor` what the time is for"

/**
 * Tests do not sleep before they assert. A timer as a promise is a sleep wherever it stands; `Effect.sleep` is one where
 * an assertion follows in the same function (the body of an effect is a part of the one around it), except in `it.effect`, whose clock is the test's own.
 */
const bareSleep = {
  create(context) {
    if (!relativeName(context).startsWith("test/")) return {}
    const report = (node) => context.report({ node, message: bareSleepMessage })
    // One list of sleeps for each function that the visitor is in, and for the module.
    const frames = [[]]
    let ownClocks = 0
    const enter = () => frames.push([])
    const leave = (node) => {
      const sleeps = frames.pop()
      if (isPartOf(node) && frames.length > 1) frames.at(-1).push(...sleeps)
    }
    const hasOwnClock = (node) => {
      const [root, second] = namesOf(node.callee)
      return root === "it" && second === "effect"
    }
    return {
      ...onImports((node, specifier) => {
        if (/^(node:)?timers\/promises$/.test(specifier)) report(node)
      }),
      FunctionDeclaration: enter,
      "FunctionDeclaration:exit": leave,
      FunctionExpression: enter,
      "FunctionExpression:exit": leave,
      ArrowFunctionExpression: enter,
      "ArrowFunctionExpression:exit": leave,
      NewExpression(node) {
        if (isPromisedTimer(node)) report(node)
      },
      CallExpression(node) {
        if (hasOwnClock(node)) ownClocks++
        const names = namesOf(node.callee)
        if (names.join(".") === "Effect.sleep" && ownClocks === 0) frames.at(-1).push(node)
        if (names[0] !== "assert" && names[0] !== "expect") return
        for (const sleeps of frames) for (const sleep of sleeps.splice(0)) report(sleep)
      },
      "CallExpression:exit"(node) {
        if (hasOwnClock(node)) ownClocks--
      }
    }
  }
}

export default {
  meta: { name: "house" },
  rules: {
    direction,
    "one-client": oneClient,
    "namespace-imports": namespaceImports,
    "bare-sleep": bareSleep
  }
}
