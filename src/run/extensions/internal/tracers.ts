import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Extension from "../../../services/Extension.ts"
import * as Setting from "../../../services/Setting.ts"
import { lazily, openAiSettings, peers, released } from "./builtIn.ts"

const includeContent = Setting.boolean("Whether content (input, output, arguments) is sent or shown.", {
  default: false
})

const console_ = Extension.make({
  ...released,
  kind: "tracer",
  name: "console",
  description: "Prints each trace as a tree when it ends.",
  config: {
    colors: Setting.boolean("Whether to colour.", { default: false }),
    includeContent,
    width: Setting.integer("No line is wider, in characters.", { default: 100 }),
    maxSpans: Setting.integer("How many spans of a trace are shown.", { default: 1000 }),
    output: Setting.choice(["stdout", "stderr"], "Where to.", { default: "stdout" })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerConsole.ts"), (module) => module.layer(settings))
})

const memory = Extension.make({
  ...released,
  kind: "tracer",
  name: "memory",
  description: "Keeps spans and traces in memory, to be read back.",
  config: { capacity: Setting.integer("How many spans and how many traces are kept.", { default: 10_000 }) },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerMemory.ts"), (module) => module.layerWith(settings))
})

const jsonLines = Extension.make({
  ...released,
  kind: "tracer",
  name: "json-lines",
  description: "Appends traces to a file, one JSON document a line.",
  config: {
    path: Setting.text("The path of the file.", { default: "agent-layers.traces.jsonl" }),
    maxFileSize: Setting.integer("A file that has more bytes is put aside.", { default: 67_108_864 }),
    maxFiles: Setting.integer("How many files there are at most.", { default: 5 }),
    maxTextLength: Setting.integer("Longer texts are cut, in characters.", { default: 100_000 })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerJsonLines.ts"), (module) => module.layer(settings)).pipe(
      Layer.provide(NodeFileSystem.layer)
    )
})

const sqlite = Extension.make({
  ...released,
  kind: "tracer",
  name: "sqlite",
  description: "Keeps the latest traces in an SQLite file, to be listed and shown.",
  config: {
    filename: Setting.text("The path of the file; it may be the one of the sessions.", {
      default: "agent-layers.sqlite"
    }),
    maxTraces: Setting.integer("How many traces are kept.", { default: 1000 }),
    maxAge: Setting.duration("How long they are kept.", { default: "30 days" }),
    maxSpans: Setting.integer("How many spans of a trace are kept.", { default: 10_000 }),
    maxTextLength: Setting.integer("Longer texts are cut, in characters.", { default: 100_000 })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerSqlite.ts"), (module) => module.layer(settings))
})

const openai = Extension.make({
  ...released,
  kind: "tracer",
  name: "openai",
  description: "Sends traces to OpenAI's traces dashboard.",
  config: {
    apiKey: openAiSettings.apiKey,
    organization: openAiSettings.organization,
    project: openAiSettings.project,
    url: Setting.text("Where to.", { default: "https://api.openai.com/v1/traces/ingest" }),
    includeContent: Setting.boolean("Whether content (input, output, arguments) is sent.", { default: true }),
    timeout: Setting.duration("How long one request may take.", { default: "10 seconds" })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerOpenAI.ts"), (module) => module.layer(settings)).pipe(
      Layer.provide(FetchHttpClient.layer)
    )
})

const otlp = Extension.make({
  ...released,
  kind: "tracer",
  name: "otlp",
  description: "Sends all spans of the program to an OpenTelemetry collector over OTLP/HTTP.",
  config: {
    url: Setting.text("The collector's address for traces.", {
      default: "http://localhost:4318/v1/traces",
      variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    }),
    headers: Setting.secrets("Headers of every request.", { optional: true }),
    serviceName: Setting.text("The name of this program.", { optional: true, variable: "OTEL_SERVICE_NAME" }),
    serviceVersion: Setting.text("Its version.", { optional: true }),
    includeContent,
    encoding: Setting.choice(["protobuf", "json"], "The form of requests.", { default: "protobuf" }),
    compression: Setting.choice(["gzip", "none"], "How requests are packed.", { default: "none" }),
    interval: Setting.duration("How long a span waits for others.", { default: "5 seconds" }),
    timeout: Setting.duration("How long one request may take.", { default: "10 seconds" })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerOtlp.ts"), (module) => module.layer(settings)).pipe(
      Layer.provide(FetchHttpClient.layer)
    )
})

const openTelemetry = Extension.make({
  ...released,
  kind: "tracer",
  name: "opentelemetry",
  description: "Hands spans to the OpenTelemetry SDK that the program has set up.",
  packages: peers.openTelemetry,
  config: { includeContent },
  layer: (settings) =>
    lazily(() => import("../../../layers/tracer/TracerOpenTelemetry.ts"), (module) => module.layerGlobal(settings))
})

const redacted = Extension.make({
  ...released,
  kind: "tracer",
  name: "redacted",
  description: "Takes secrets out of traces, before any exporter sees them.",
  config: {
    keys: Setting.list("Names of fields whose values are taken out. Absent: the usual ones.", { optional: true }),
    patterns: Setting.list("Regular expressions of texts that are taken out. Absent: the usual ones.", {
      optional: true
    }),
    replacement: Setting.text("What stands in their place.", { default: "(redacted)" })
  },
  layer: ({ patterns, ...settings }) =>
    lazily(
      () => import("../../../layers/tracer/TracerRedacted.ts"),
      (module) => module.layer({ ...settings, patterns: patterns?.map((pattern) => new RegExp(pattern, "g")) })
    )
})

export const tracers: ReadonlyArray<Extension.Any> = [
  console_,
  memory,
  jsonLines,
  sqlite,
  openai,
  otlp,
  openTelemetry,
  redacted
]
