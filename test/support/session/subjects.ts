/** Sessions to run laws over. */
import * as SessionMemory from "agent-layers/layers/session/SessionMemory"
import * as SessionSqlite from "agent-layers/layers/session/SessionSqlite"
import type { SessionSubject } from "agent-layers/services/laws/SessionLaws"
import type { Capabilities } from "agent-layers/services/Session"
import { Effect, type Scope } from "effect"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { MemoryStore } from "../../../src/layers/session/internal/memoryStore.ts"

export const everything: Capabilities = { versions: true, operations: true, rewrite: true, list: true, anyItem: true }

/** The insides of a store, to damage it. */
export const contentOf = (store: SessionMemory.Store): MemoryStore => Object.values(store)[0] as MemoryStore

/** A store in memory that outlives its sessions. */
export const memorySubject: Effect.Effect<SessionSubject> = Effect.map(SessionMemory.makeStore, (store) => ({
  open: SessionMemory.make({ store }),
  capabilities: everything,
  canReopen: true,
  faults: {
    corruptLast: (id) =>
      Effect.sync(() => {
        contentOf(store).conversations.get(id)!.rows.at(-1)!.entry = "{\"type\":"
      })
  }
}))

/** Opens a database apart from the connection that sessions of this process share. */
export const openRaw = (filename: string): Effect.Effect<DatabaseSync, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => new DatabaseSync(filename)), (db) => Effect.sync(() => db.close()))

/** A database in a file. */
export const sqliteSubject = (filename: string): SessionSubject => ({
  open: SessionSqlite.make({ filename, commitTimeout: "3 seconds" }),
  capabilities: everything,
  canReopen: true,
  faults: {
    corruptLast: (id) =>
      Effect.scoped(Effect.map(openRaw(filename), (db) => {
        db.prepare(`
          UPDATE agent_layers_items SET entry = '{"type":' WHERE rowid = (
            SELECT items.rowid FROM agent_layers_items AS items
            JOIN agent_layers_conversations ON conversation = key
            WHERE id = ? ORDER BY items.sequence DESC LIMIT 1
          )
        `).run(id)
      })),
    outage: Effect.map(openRaw(filename), (db) => db.exec("BEGIN IMMEDIATE"))
  }
})

/** A fresh folder; it is removed when the scope closes. */
export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "agent-layers-session-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)
