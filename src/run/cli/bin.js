#!/usr/bin/env node
// What `agent-layers` starts. Plain JavaScript that an old Node reads too, so that it is told what is missing in one
// line. Which files are run, the built ones or the sources, is what Node's own conditions make of the package's name.
import fs from "node:fs"
import nodeModule from "node:module"
import { fileURLToPath } from "node:url"

const say = (line) => {
  process.stderr.write(`agent-layers: ${line}\n`)
  process.exitCode = 1
}

const [major, minor] = process.versions.node.split(".").map(Number)

const start = async () => {
  // node:sqlite and type stripping are experimental in some of the versions that serve, which is no news to a user.
  process.removeAllListeners("warning")
  process.on("warning", (warning) => {
    if (warning.name !== "ExperimentalWarning") process.stderr.write(`${warning.name}: ${warning.message}\n`)
  })
  // Halves the time to the first line from the second start on.
  nodeModule.enableCompileCache()
  const url = import.meta.resolve("agent-layers/run/cli/Main")
  if (!fs.existsSync(fileURLToPath(url))) {
    say("it is not built here. Run the sources: npm run agent-layers -- --help, or build them: npm run build")
    return
  }
  let loaded
  try {
    loaded = await import(url)
  } catch (error) {
    const missing = /Cannot find package '([^']+)'/.exec(error.message)
    if (error.code !== "ERR_MODULE_NOT_FOUND" || missing === null) throw error
    say(`it needs the package "${missing[1]}". Install it: npm install effect @effect/platform-node`)
    return
  }
  loaded.main()
}

if (major > 22 || (major === 22 && minor >= 19)) {
  start().catch((error) => say(`it could not start: ${error.message}`))
} else {
  say(`needs Node 22.19 or newer, and this is Node ${process.versions.node}. See https://nodejs.org`)
}
