import type { DatabaseSync, SQLInputValue } from "node:sqlite"

type Row = ReadonlyArray<SQLInputValue>

/** @internal */
export interface ConversationRow {
  readonly key: number
  readonly version: number
  /** The version that the last rewrite, pop or clear left. */
  readonly epoch: number
  /** The highest sequence in use. */
  readonly sequence: number
  readonly items: number
}

/**
 * The statements of the hot path and of the rest, prepared once for a connection.
 *
 * @internal
 */
export const prepare = (db: DatabaseSync) => {
  // Rows as arrays cost half of rows as objects.
  const query = <A extends Row>(sql: string) => {
    const statement = db.prepare(sql)
    statement.setReturnArrays(true)
    return {
      first: (...parameters: Row) => statement.get(...parameters) as unknown as A | undefined,
      all: (...parameters: Row) => statement.all(...parameters) as unknown as ReadonlyArray<A>
    }
  }
  const command = (sql: string) => {
    const statement = db.prepare(sql)
    return (...parameters: Row): void => {
      statement.run(...parameters)
    }
  }

  const find = query<readonly [key: number, version: number, epoch: number, sequence: number, items: number]>(
    "SELECT key, version, epoch, sequence, items FROM agent_layers_conversations WHERE id = ?"
  )
  return {
    conversation: (id: string): ConversationRow | undefined => {
      const row = find.first(id)
      return row && { key: row[0], version: row[1], epoch: row[2], sequence: row[3], items: row[4] }
    },
    addConversation: query<readonly [key: number]>(
      `INSERT INTO agent_layers_conversations (id, version, epoch, sequence, items, changed_at)
       VALUES (?, 0, 0, 0, 0, ?) RETURNING key`
    ),
    changeConversation: command(
      `UPDATE agent_layers_conversations SET version = ?, epoch = ?, sequence = ?, items = ?, changed_at = ?
       WHERE key = ?`
    ),
    conversations: query<readonly [id: string, version: number, changedAt: number]>(
      `SELECT id, version, changed_at FROM agent_layers_conversations
       WHERE id > ? AND id >= ? AND items > 0 ORDER BY id LIMIT ?`
    ),

    entries: query<readonly [entry: string]>(
      "SELECT entry FROM agent_layers_items WHERE conversation = ? ORDER BY sequence"
    ),
    latestEntries: query<readonly [entry: string]>(
      "SELECT entry FROM agent_layers_items WHERE conversation = ? ORDER BY sequence DESC LIMIT ?"
    ),
    entriesAfter: query<readonly [entry: string]>(
      "SELECT entry FROM agent_layers_items WHERE conversation = ? AND sequence > ? ORDER BY sequence"
    ),
    // Walks back from the end only as far as the items are newer.
    lastSequenceThrough: query<readonly [sequence: number]>(
      `SELECT sequence FROM agent_layers_items WHERE conversation = ? AND version <= ?
       ORDER BY sequence DESC LIMIT 1`
    ),
    lastItem: query<readonly [sequence: number, entry: string]>(
      "SELECT sequence, entry FROM agent_layers_items WHERE conversation = ? ORDER BY sequence DESC LIMIT 1"
    ),
    page: query<readonly [sequence: number, entry: string, version: number, savedAt: number, meta: string | null]>(
      `SELECT sequence, entry, version, saved_at, meta FROM agent_layers_items
       WHERE conversation = ? AND sequence > ? ORDER BY sequence LIMIT ?`
    ),
    addItem: command(
      `INSERT INTO agent_layers_items (conversation, sequence, version, saved_at, meta, entry)
       VALUES (?, ?, ?, ?, ?, ?)`
    ),
    count: query<readonly [items: number]>("SELECT count(*) FROM agent_layers_items WHERE conversation = ?"),
    removeItem: command("DELETE FROM agent_layers_items WHERE conversation = ? AND sequence = ?"),
    removeItems: command("DELETE FROM agent_layers_items WHERE conversation = ?"),
    removeItemsThrough: command("DELETE FROM agent_layers_items WHERE conversation = ? AND sequence <= ?"),
    // By way of negative numbers, so that no two rows meet on the way.
    negateSequences: command(
      "UPDATE agent_layers_items SET sequence = -(sequence + ?) WHERE conversation = ? AND sequence > 0"
    ),
    restoreSequences: command(
      "UPDATE agent_layers_items SET sequence = -sequence WHERE conversation = ? AND sequence < 0"
    ),

    operation: query<readonly [fingerprint: string, version: number]>(
      "SELECT fingerprint, version FROM agent_layers_operations WHERE conversation = ? AND operation_id = ?"
    ),
    addOperation: command(
      `INSERT INTO agent_layers_operations (conversation, operation_id, fingerprint, version, saved_at)
       VALUES (?, ?, ?, ?, ?)`
    ),
    removeExpiredOperations: command("DELETE FROM agent_layers_operations WHERE conversation = ? AND saved_at < ?"),
    removeOldestOperations: command(
      `DELETE FROM agent_layers_operations WHERE conversation = ?1 AND version <= (
         SELECT version FROM agent_layers_operations WHERE conversation = ?1
         ORDER BY version DESC LIMIT 1 OFFSET ?2
       )`
    )
  }
}

/** @internal */
export type Statements = ReturnType<typeof prepare>
