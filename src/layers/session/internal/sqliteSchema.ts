import type { DatabaseSync } from "node:sqlite"

/**
 * Each makes the next version of the tables. What is released is never changed, only added to.
 *
 * Rows of items are found by conversation and sequence; they are no WITHOUT ROWID table, because an item is often
 * larger than a tenth of a page.
 */
const migrations: ReadonlyArray<string> = [
  `
  CREATE TABLE agent_layers_conversations (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    items INTEGER NOT NULL,
    changed_at REAL NOT NULL
  ) STRICT;
  CREATE TABLE agent_layers_items (
    conversation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    version INTEGER NOT NULL,
    saved_at REAL NOT NULL,
    meta TEXT,
    entry TEXT NOT NULL,
    UNIQUE (conversation, sequence)
  ) STRICT;
  CREATE TABLE agent_layers_operations (
    conversation INTEGER NOT NULL,
    operation_id TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    version INTEGER NOT NULL,
    saved_at REAL NOT NULL,
    PRIMARY KEY (conversation, operation_id)
  ) STRICT, WITHOUT ROWID;
  `
]

/** @internal */
export const latestVersion: number = migrations.length

/**
 * The version of the session tables in a database; 0 where there are none. Only reads.
 *
 * @internal
 */
export const version = (db: DatabaseSync): number => {
  const table = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agent_layers_migrations'")
    .get()
  if (table === undefined) return 0
  const found = db.prepare(
    "SELECT coalesce(max(version), 0) AS version FROM agent_layers_migrations WHERE component = 'session'"
  ).get() as { readonly version: number }
  return found.version
}

/**
 * Brings the tables up to date in one transaction, which waits for nobody: it throws where another process migrates.
 *
 * @internal
 */
export const migrate = (db: DatabaseSync, now: number): void => {
  db.exec("BEGIN IMMEDIATE")
  db.exec(`
    CREATE TABLE IF NOT EXISTS agent_layers_migrations (
      component TEXT NOT NULL,
      version INTEGER NOT NULL,
      applied_at REAL NOT NULL,
      PRIMARY KEY (component, version)
    ) STRICT, WITHOUT ROWID
  `)
  const record = db.prepare(
    "INSERT INTO agent_layers_migrations (component, version, applied_at) VALUES ('session', ?, ?)"
  )
  for (let next = version(db); next < latestVersion; next++) {
    db.exec(migrations[next]!)
    record.run(next + 1, now)
  }
  db.exec("COMMIT")
}
