/**
 * The statements. Each is one round trip that happens whole or not at all, so that none needs a transaction of its own.
 * Everything but the names of tables is a parameter. Numbers are passed as texts and cast, so that a statement is
 * prepared once, whatever their size.
 */

/** @internal */
export interface Names {
  readonly schema: string
  readonly prefix: string
}

/** Counting begins in the middle, so that a rewrite finds room before what it keeps. */
const middle = 1_000_000_000_000

/** @internal */
export const tables = ({ prefix, schema }: Names) => ({
  schema: `"${schema}"`,
  migrations: `"${schema}"."${prefix}migrations"`,
  conversations: `"${schema}"."${prefix}conversations"`,
  items: `"${schema}"."${prefix}items"`,
  operations: `"${schema}"."${prefix}operations"`
})

/** @internal */
export const make = (names: Names, maxOperations: number) => {
  const { conversations, items, operations } = tables(names)
  return {
    /** Id, known, limit. Rows of version, epoch and entry; one with null where there is no item. */
    load: `
      SELECT c.version, c.epoch, i.entry
      FROM ${conversations} AS c
      LEFT JOIN LATERAL (
        SELECT sequence, entry FROM ${items}
        WHERE conversation = c.key AND sequence > coalesce((
          SELECT old.sequence FROM ${items} AS old
          WHERE old.conversation = c.key AND $2::bigint BETWEEN c.epoch AND c.version AND old.version <= $2::bigint
          ORDER BY old.sequence DESC LIMIT 1
        ), 0)
        ORDER BY sequence DESC LIMIT $3::bigint
      ) AS i ON true
      WHERE c.id = $1::text
      ORDER BY i.sequence`,

    /**
     * Id, entries, savedAt, meta, expected, operation id, fingerprint, expiredBefore. The version that it left, or
     * else fingerprint and version of the operation that was there. All null: the version moved on.
     *
     * Who loses a race sees the rows of before it: it then meets the other's operation id as a unique violation.
     */
    save: `
      WITH done AS MATERIALIZED (
        SELECT o.fingerprint, o.version FROM ${operations} AS o
        JOIN ${conversations} AS c ON c.key = o.conversation
        WHERE c.id = $1::text AND o.operation_id = $6::text
      ), changed AS (
        INSERT INTO ${conversations} AS c (id, version, epoch, sequence, items, changed_at)
        SELECT $1::text, 1, 0, ${middle} + cardinality($2::text[]), cardinality($2::text[]), $3::float8
        WHERE NOT EXISTS (SELECT FROM done) AND (
          coalesce($5::bigint, 0) = 0 OR EXISTS (SELECT FROM ${conversations} WHERE id = $1::text)
        )
        ON CONFLICT (id) DO UPDATE SET
          version = c.version + 1,
          sequence = c.sequence + cardinality($2::text[]),
          items = c.items + cardinality($2::text[]),
          changed_at = $3::float8
        WHERE $5::bigint IS NULL OR c.version = $5::bigint
        RETURNING key, version, sequence
      ), added AS (
        INSERT INTO ${items} (conversation, sequence, version, saved_at, meta, entry)
        SELECT c.key, c.sequence - cardinality($2::text[]) + e.position, c.version, $3::float8, $4::text, e.entry
        FROM changed AS c, unnest($2::text[]) WITH ORDINALITY AS e(entry, position)
      ), remembered AS (
        INSERT INTO ${operations} (conversation, operation_id, fingerprint, version, saved_at)
        SELECT key, $6::text, $7::text, version, $3::float8 FROM changed WHERE $6::text IS NOT NULL
      ), forgotten AS (
        DELETE FROM ${operations} AS o
        USING (SELECT key FROM changed WHERE version % 64 = 0 AND $6::text IS NOT NULL) AS c
        LEFT JOIN LATERAL (
          SELECT version FROM ${operations}
          WHERE conversation = c.key ORDER BY version DESC LIMIT 1 OFFSET ${maxOperations - 1}
        ) AS last ON true
        WHERE o.conversation = c.key AND (o.saved_at < $8::float8 OR o.version <= last.version)
      )
      SELECT (SELECT version FROM changed), (SELECT fingerprint FROM done), (SELECT version FROM done)`,

    /** Id, operation id. Version and epoch, fingerprint and version of the operation. */
    find: `
      SELECT c.version, c.epoch, o.fingerprint, o.version
      FROM ${conversations} AS c
      LEFT JOIN ${operations} AS o ON o.conversation = c.key AND o.operation_id = $2::text
      WHERE c.id = $1::text`,

    /**
     * Id, version now, through, entries, savedAt. The version that it left; no row: the conversation moved on. The
     * version is compared under the row's lock, so that what the statement sees is what there is. New rows take numbers
     * that none has had, because a statement sees rows that it deletes itself.
     */
    rewrite: `
      WITH place AS MATERIALIZED (
        SELECT
          c.sequence,
          (SELECT count(*)::int FROM ${items} AS i WHERE i.conversation = c.key AND i.version > $3::bigint) AS kept,
          (SELECT min(i.sequence) FROM ${items} AS i WHERE i.conversation = c.key) AS first
        FROM ${conversations} AS c WHERE c.id = $1::text
      ), base AS MATERIALIZED (
        SELECT
          coalesce((SELECT kept FROM place), 0) AS kept,
          coalesce(
            (SELECT CASE WHEN kept > 0 THEN first - cardinality($4::text[]) - 1 ELSE sequence END FROM place),
            ${middle}
          ) AS sequence
      ), changed AS (
        INSERT INTO ${conversations} AS c (id, version, epoch, sequence, items, changed_at)
        SELECT
          $1::text, 1, 1, base.sequence + cardinality($4::text[]), cardinality($4::text[]) + base.kept, $5::float8
        FROM base
        ON CONFLICT (id) DO UPDATE SET
          version = c.version + 1,
          epoch = c.version + 1,
          sequence = greatest(c.sequence, excluded.sequence),
          items = excluded.items,
          changed_at = $5::float8
        WHERE c.version = $2::bigint
        RETURNING key, version
      ), removed AS (
        DELETE FROM ${items} AS i USING changed AS c WHERE i.conversation = c.key AND i.version <= $3::bigint
      ), added AS (
        INSERT INTO ${items} (conversation, sequence, version, saved_at, meta, entry)
        SELECT c.key, base.sequence + e.position, c.version, $5::float8, NULL, e.entry
        FROM changed AS c, base, unnest($4::text[]) WITH ORDINALITY AS e(entry, position)
      )
      SELECT version FROM changed`,

    /** Id. Version, sequence and entry of the last item. */
    last: `
      SELECT c.version, i.sequence::text, i.entry
      FROM ${conversations} AS c
      CROSS JOIN LATERAL (
        SELECT sequence, entry FROM ${items} WHERE conversation = c.key ORDER BY sequence DESC LIMIT 1
      ) AS i
      WHERE c.id = $1::text`,

    /** Id, version now, sequence, savedAt. No row: the conversation moved on. */
    pop: `
      WITH changed AS (
        UPDATE ${conversations} AS c
        SET version = c.version + 1, epoch = c.version + 1, items = c.items - 1, changed_at = $4::float8
        WHERE c.id = $1::text AND c.version = $2::bigint
        RETURNING key, version
      ), removed AS (
        DELETE FROM ${items} AS i USING changed AS c WHERE i.conversation = c.key AND i.sequence = $3::bigint
      )
      SELECT version FROM changed`,

    /** Id, savedAt. Whether there was something to clear and whether it was cleared. */
    clear: `
      WITH seen AS MATERIALIZED (
        SELECT key, version FROM ${conversations} WHERE id = $1::text AND items > 0
      ), changed AS (
        UPDATE ${conversations} AS c
        SET version = c.version + 1, epoch = c.version + 1, items = 0, changed_at = $2::float8
        WHERE c.key = (SELECT key FROM seen) AND c.version = (SELECT version FROM seen)
        RETURNING key
      ), removed AS (
        DELETE FROM ${items} AS i USING changed AS c WHERE i.conversation = c.key
      )
      SELECT EXISTS (SELECT FROM seen), EXISTS (SELECT FROM changed)`,

    /** Id, after, limit. */
    page: `
      SELECT c.epoch, i.sequence::float8, i.entry, i.version, i.saved_at, i.meta
      FROM ${conversations} AS c
      LEFT JOIN LATERAL (
        SELECT sequence, entry, version, saved_at, meta FROM ${items}
        WHERE conversation = c.key AND sequence > $2::bigint
        ORDER BY sequence LIMIT $3::bigint
      ) AS i ON true
      WHERE c.id = $1::text
      ORDER BY i.sequence`,

    /** After, prefix, limit. */
    list: `
      SELECT id, version, changed_at FROM ${conversations}
      WHERE id > $1::text AND id >= $2::text AND items > 0 ORDER BY id LIMIT $3::bigint`,

    /** Id, expiredBefore. */
    forget: `
      DELETE FROM ${operations} AS o
      USING ${conversations} AS c
      LEFT JOIN LATERAL (
        SELECT version FROM ${operations}
        WHERE conversation = c.key ORDER BY version DESC LIMIT 1 OFFSET ${maxOperations}
      ) AS last ON true
      WHERE c.id = $1::text AND o.conversation = c.key AND (o.saved_at < $2::float8 OR o.version <= last.version)`
  }
}
