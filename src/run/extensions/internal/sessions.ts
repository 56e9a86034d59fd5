import * as Config from "effect/Config"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Extension from "../../../services/Extension.ts"
import * as Session from "../../../services/Session.ts"
import * as Setting from "../../../services/Setting.ts"
import { lazily, openAiSettings, peers, refuse, released, sessionSettings } from "./builtIn.ts"

const memory = Extension.make({
  ...released,
  kind: "session",
  name: "memory",
  description: "Conversations in the memory of this process; nothing outlives it.",
  config: sessionSettings,
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionMemory.ts"), (module) => module.layerWith(settings))
})

const sqlite = Extension.make({
  ...released,
  kind: "session",
  name: "sqlite",
  description: "Conversations in an SQLite file: the default for one machine.",
  config: {
    filename: Setting.text(`The path of the file, or ":memory:". Its folder has to exist.`, {
      default: "agent-layers.sqlite"
    }),
    synchronous: Setting.choice(
      ["normal", "full"],
      "What a commit survives: the end of the process, or a power cut too.",
      { default: "normal" }
    ),
    ...sessionSettings
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionSqlite.ts"), (module) => module.layer(settings))
})

const postgres = Extension.make({
  ...released,
  kind: "session",
  name: "postgres",
  description: "Conversations in PostgreSQL 14 or newer.",
  packages: peers.postgres,
  config: {
    url: Setting.secret("postgres://user:password@host:port/database.", { variable: "DATABASE_URL" }),
    schema: Setting.text("Where the tables are; it is created where it does not exist.", { default: "public" }),
    prefix: Setting.text("Stands before the name of each table.", { default: "agent_layers_" }),
    maxConnections: Setting.integer("How many connections the pool has at most.", { default: 10 }),
    prepare: Setting.boolean("Whether statements stay prepared; not behind a transaction pooler.", { default: true }),
    connectTimeout: Setting.duration("How long the server may take to let a connection in.", { default: "5 seconds" }),
    acquireTimeout: Setting.duration("How long to wait for a connection.", { default: "10 seconds" }),
    statementTimeout: Setting.duration("How long a statement may take.", { default: "15 seconds" }),
    ...sessionSettings
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionPostgres.ts"), (module) => module.layer(settings))
})

const redis = Extension.make({
  ...released,
  kind: "session",
  name: "redis",
  description: "Conversations in Redis 6.2 or newer.",
  packages: peers.redis,
  config: {
    url: Setting.secret("redis://user:password@host:port/database, or rediss:// for TLS.", { variable: "REDIS_URL" }),
    prefix: Setting.text("Stands before every key.", { default: "agent-layers" }),
    timeout: Setting.duration("How long a command may take.", { default: "5 seconds" }),
    ...sessionSettings
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionRedis.ts"), (module) => module.layer(settings))
})

const s3 = Extension.make({
  ...released,
  kind: "session",
  name: "s3",
  description: "Conversations in a bucket of S3, or of a store that speaks its protocol.",
  packages: peers.s3,
  config: {
    bucket: Setting.text("The name of the bucket."),
    prefix: Setting.text("Stands before every key, with a slash at its end.", { default: "agent-layers/" }),
    endpoint: Setting.text("The address of the server. Absent: AWS.", { optional: true }),
    region: Setting.text("The region. Absent: what the client finds.", { optional: true, variable: "AWS_REGION" }),
    accessKeyId: Setting.text("With the secret key; absent: the client's default chain.", { optional: true }),
    secretAccessKey: Setting.secret("Goes with the access key id.", { optional: true }),
    sessionToken: Setting.secret("Of credentials that are given for a time.", { optional: true }),
    forcePathStyle: Setting.boolean("Whether the bucket stands in the path, not in the name of the host.", {
      optional: true
    }),
    requestTimeout: Setting.duration("How long one request may take.", { default: "10 seconds" }),
    ...sessionSettings
  },
  layer: ({ accessKeyId, secretAccessKey, sessionToken, ...settings }, { instance }) => {
    if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
      return refuse(
        `session "s3"`,
        instance === "default" ? "session.settings" : `session.${instance}.settings`,
        "accessKeyId and secretAccessKey go together: set both, or neither"
      )
    }
    return lazily(() => import("../../../layers/session/SessionS3.ts"), (module) =>
      module.layer({
        ...settings,
        credentials: accessKeyId === undefined || secretAccessKey === undefined
          ? undefined
          : { accessKeyId, secretAccessKey, sessionToken }
      }))
  }
})

const openAiConversations = Extension.make({
  ...released,
  kind: "session",
  name: "openai-conversations",
  description: "Conversations that OpenAI keeps. Without versions, operation ids and rewriting.",
  packages: peers.openai,
  config: {
    ...openAiSettings,
    timeout: Setting.duration("How long one request may take.", { default: "20 seconds" }),
    ...sessionSettings
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionOpenAIConversations.ts"), (module) => module.layer(settings))
})

const KeyList = Schema.Array(Schema.Struct({
  id: Schema.String,
  secret: Schema.Redacted(Schema.String)
}))

/** `2026:base64,2025:base64`, the form for a variable. */
const keysOfText = Config.map(
  Config.schema(
    Schema.Redacted(Schema.String.check(Schema.isPattern(/^\s*[^:,\s]+:[^:,\s]+\s*(,\s*[^:,\s]+:[^:,\s]+\s*)*$/)))
  ),
  (given) =>
    Redacted.value(given).split(",").map((part) => {
      const colon = part.indexOf(":")
      return { id: part.slice(0, colon).trim(), secret: Redacted.make(part.slice(colon + 1).trim()) }
    })
)

const encrypted = Extension.decorator({
  ...released,
  kind: "session",
  name: "encrypted",
  role: "hides",
  description: "Encrypts each item with AES-256-GCM; keys can be rotated.",
  config: {
    keys: Setting.make(
      Config.orElse(Config.schema(KeyList), () => keysOfText),
      `The key ring, the first key seals: { "id", "secret" }, where the secret is what \`openssl rand -base64 32\` ` +
        `prints. In a variable: id:secret,id:secret.`,
      {
        isSecret: true,
        jsonSchema: {
          type: "array",
          items: {
            type: "object",
            properties: {
              id: { type: "string" },
              secret: { anyOf: [{ type: "string" }, { $ref: "#/$defs/variable" }] }
            },
            required: ["id", "secret"],
            additionalProperties: false
          }
        }
      }
    ),
    fingerprintKey: Setting.secret("For the fingerprints of operations. Absent: derived from the last key.", {
      optional: true
    }),
    onUndecryptable: Setting.choice(["fail", "skip"], "What reading does with an item that cannot be decrypted.", {
      default: "fail"
    }),
    onPlaintext: Setting.choice(["fail", "read"], "What reading does with an item that is not sealed.", {
      default: "fail"
    })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionEncrypted.ts"), (module) => module.layer(settings))
})

const compressed = Extension.decorator({
  ...released,
  kind: "session",
  name: "compressed",
  role: "hides",
  description: "Packs large items.",
  config: {
    threshold: Setting.integer("Items of fewer bytes of JSON stay as they are.", { default: 512 }),
    maxItemBytes: Setting.integer("The largest item, in bytes of JSON.", { default: 67_108_864 }),
    onCorruptItem: Setting.choice(["fail", "skip"], "What reading does with an item that cannot be unpacked.", {
      default: "fail"
    })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionCompressed.ts"), (module) => module.layer(settings))
})

const cached = Extension.decorator({
  ...released,
  kind: "session",
  name: "cached",
  description: "Keeps what was read in the memory of this process.",
  config: {
    maxItems: Setting.integer("How many items are kept in all.", { default: 100_000 }),
    maxBytes: Setting.integer("How many bytes they take in all.", { default: 67_108_864 }),
    timeToLive: Setting.duration("How old an answer may be, over a backend without versions.", { optional: true })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionCached.ts"), (module) => module.layer(settings))
})

const compacted = Extension.decorator({
  ...released,
  kind: "session",
  name: "compacted",
  role: "reads",
  needs: ["model"],
  description: "Has the configured model summarise the beginning of conversations that are too long.",
  config: {
    maxItems: Setting.integer("A conversation with more items is compacted.", { optional: true }),
    maxTokens: Setting.integer("A conversation with more estimated tokens is compacted.", { optional: true }),
    keepItems: Setting.integer("How many of the latest items stay as they are, at least.", { default: 20 }),
    timeout: Setting.duration("How long the summary may take.", { default: "2 minutes" }),
    model: Setting.text("The model that summarises. Absent: the default one.", { optional: true }),
    instructions: Setting.text("What the model is told. Absent: a text that keeps facts and open ends.", {
      optional: true
    }),
    maxOutputTokens: Setting.integer("How long a summary may be, in tokens.", { optional: true })
  },
  layer: ({ instructions, maxOutputTokens, model, ...settings }) =>
    lazily(
      () => import("../../../layers/session/SessionCompacted.ts"),
      (module) => module.layer({ ...settings, compact: module.summary({ instructions, maxOutputTokens, model }) })
    )
})

const retention = Extension.decorator({
  ...released,
  kind: "session",
  name: "retention",
  role: "reads",
  description: "Forgets what is too old or too much, whole turns at a time.",
  config: {
    maxItems: Setting.integer("How many items a conversation keeps. Absent: any number.", { optional: true }),
    maxAge: Setting.duration("How long they are kept. Absent: any time.", { optional: true })
  },
  layer: (settings) =>
    lazily(() => import("../../../layers/session/SessionRetention.ts"), (module) => module.layer(settings))
})

const fallback = Extension.decorator({
  ...released,
  kind: "session",
  name: "fallback",
  description: "Copies commits to backups, and reads from them while the session below is away.",
  config: {
    backups: Setting.list("The names of configured instances, in the order in which they are asked."),
    readTimeout: Setting.duration("How long each may take to answer a read.", { default: "5 seconds" }),
    replicationTimeout: Setting.duration("How long a commit waits for a backup.", { default: "5 seconds" }),
    cooldown: Setting.duration("How long writes do not wait for a backup that failed.", { default: "10 seconds" })
  },
  layer: ({ backups, ...settings }, { of }) =>
    lazily(
      () => import("../../../layers/session/SessionFallback.ts"),
      (module) => module.layer({ ...settings, backups: backups.map((name) => ({ name, layer: of(name) })) })
    )
})

const prefixed = Extension.decorator({
  ...released,
  kind: "session",
  name: "prefixed",
  description: "Keeps the conversations of one tenant apart from all others.",
  config: { tenant: Setting.text("The name of the tenant, of up to 127 characters.") },
  layer: ({ tenant }) => Session.prefixed(tenant)
})

export const sessions: ReadonlyArray<Extension.Any> = [
  memory,
  sqlite,
  postgres,
  redis,
  s3,
  openAiConversations,
  encrypted,
  compressed,
  cached,
  compacted,
  retention,
  fallback,
  prefixed
]
