// `npm run mission`: each row of the mission, as the tests in test/mission show it, with pass, fail or skip.
// Ends with 0 only when every row is there and passes.
import process from "node:process"
import { fileURLToPath } from "node:url"
import { head, runTests } from "./tables.js"

/** The headings of the Agents SDK's extension guide, and what must work under each. */
const rows = {
  "Memory: SQLite, PostgreSQL, Redis": ["SessionSqlite", "SessionPostgres", "SessionRedis"],
  "Memory: OpenAI conversations, compaction": ["SessionOpenAIConversations", "compacted"],
  "Custom memory backend": ["Session.make", "laws"],
  "Patterns: cloud storage": ["SessionS3"],
  "Patterns: cache, encryption, compression, multi-backend": [
    "SessionCached",
    "SessionEncrypted",
    "SessionCompressed",
    "SessionFallback"
  ],
  "MCP servers": ["McpStdio", "McpSse", "McpHttp", "McpInProcess", "McpServers"],
  "MCP tool filtering": ["static", "dynamic"],
  "Custom tool, schema, families": ["schema", "raw JSON Schema", "ToolContext", "ToolsSql"],
  "Custom model provider, custom model": [
    "ModelProvider",
    "Model",
    "Responses",
    "Chat Completions",
    "router",
    "retry",
    "fallback",
    "timeouts"
  ],
  "Using them": ["one agent value", "model by name"],
  "Custom sandbox client and session": ["bubblewrap", "unconfined", "virtual", "Sandbox.make"],
  "Custom trace processor, exporter": [
    "onSpanEnd, onTraceEnd",
    "Tracer.addProcessor",
    "console",
    "JSON lines",
    "SQLite",
    "memory",
    "OTLP",
    "OpenTelemetry SDK",
    "OpenAI traces endpoint",
    "batch",
    "fan-out",
    "redact"
  ],
  "Errors handled gracefully": ["backend", "provider", "sandbox", "exporter", "MCP server", "tool"],
  Registration: ["register"],
  Discovery: ["direct dependencies"],
  Configuration: ["file and environment", "mistakes"],
  Distribution: ["npm pack"],
  Compatibility: ["Extension.compatibility", "Extension.validate"],
  Degradation: ["fallback", "required"],
  Testing: ["TestAgents.layer"]
}

const labels = { passed: "pass", failed: "FAIL", skipped: "skip", missing: "MISSING" }

const { errors, tests } = await runTests(["test/mission"], { mode: "all" })

const found = tests.map((test) => {
  const [heading, title] = test.names
  const colon = title.indexOf(": ")
  return { heading, name: title.slice(0, colon), says: title.slice(colon + 2), state: test.state, error: test.error }
})

const lines = [...head(fileURLToPath(new URL("..", import.meta.url)))]
const counts = { pass: 0, FAIL: 0, skip: 0, MISSING: 0 }
const line = (state, text) => {
  const label = labels[state]
  counts[label]++
  lines.push(`  ${label.padEnd(7)} ${text}`)
}
const width = Math.max(...Object.values(rows).flat().map((name) => name.length))
for (const [heading, names] of Object.entries(rows)) {
  lines.push("", heading)
  for (const name of names) {
    const shown = found.filter((test) => test.heading === heading && test.name === name)
    if (shown.length === 0) line("missing", `${name.padEnd(width)}  no test in test/mission shows it`)
    for (const { error, says, state } of shown) {
      line(state, `${name.padEnd(width)}  ${says}`)
      if (error !== undefined) lines.push(...error.split("\n").slice(0, 8).map((text) => `            ${text}`))
    }
  }
}
const strays = found.filter(({ heading, name }) => !(rows[heading] ?? []).includes(name))
if (strays.length > 0) {
  lines.push("", "Tests of test/mission that belong to no row")
  for (const { heading, name, says } of strays) line("failed", `${heading} > ${name}: ${says}`)
}
for (const error of errors) line("failed", error)
lines.push("", Object.entries(counts).map(([label, count]) => `${count} ${label}`).join(", "), "")
process.stdout.write(lines.join("\n"))
process.exitCode = counts.pass > 0 && counts.FAIL + counts.skip + counts.MISSING === 0 ? 0 : 1
