/**
 * The schema of the hub's database file, its versions and the settings of each connection. Owns
 * every CREATE statement; owns no query (see `sqlite.ts` for reads, `sqlite-writer.ts` for writes).
 */
import { DatabaseSync } from 'node:sqlite'

/** Marks the file as ours: "KLND". */
const APPLICATION_ID = 0x4b4c4e44

/** Files of a version below this one hold rooms that nobody can follow any more. */
const OLDEST_VERSION = 2

/**
 * One script per schema version from the oldest on, applied in order and never changed once
 * released.
 *
 * The log is an append-ordered rowid table: a key clustered by room makes the writes of a batch
 * land all over the file and halves the throughput across many rooms.
 *
 * Heads, nodes and certificates of a group are rows of an interval: from the version at `position`
 * up to, not with, the one at `until`; null: up to now.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE rooms (
    room_no INTEGER PRIMARY KEY,
    room BLOB NOT NULL UNIQUE,
    term INTEGER NOT NULL,
    next INTEGER NOT NULL,
    head_hash BLOB NOT NULL
  ) STRICT;
  CREATE TABLE room_states (
    room_no INTEGER PRIMARY KEY,
    state BLOB NOT NULL
  ) STRICT;
  CREATE TABLE log (
    entry_no INTEGER PRIMARY KEY,
    room_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    time INTEGER NOT NULL,
    form INTEGER NOT NULL,
    entry_hash BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (room_no, position)
  ) STRICT;
  CREATE TABLE generations (
    room_no INTEGER NOT NULL,
    origin INTEGER NOT NULL,
    leaf INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (room_no, origin, leaf, lane)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE group_heads (
    head_no INTEGER PRIMARY KEY,
    room_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    leaf_width INTEGER NOT NULL,
    head BLOB NOT NULL,
    UNIQUE (room_no, position)
  ) STRICT;
  CREATE INDEX group_heads_past ON group_heads (room_no, until) WHERE until IS NOT NULL;
  CREATE TABLE group_nodes (
    node_no INTEGER PRIMARY KEY,
    room_no INTEGER NOT NULL,
    node INTEGER NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    bytes BLOB NOT NULL,
    UNIQUE (room_no, node, position)
  ) STRICT;
  CREATE INDEX group_nodes_past ON group_nodes (room_no, until) WHERE until IS NOT NULL;
  CREATE TABLE group_certificates (
    certificate_no INTEGER PRIMARY KEY,
    room_no INTEGER NOT NULL,
    hash BLOB NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    certificate BLOB NOT NULL,
    UNIQUE (room_no, hash, position)
  ) STRICT;
  CREATE INDEX group_certificates_past ON group_certificates (room_no, until)
    WHERE until IS NOT NULL;
  CREATE TABLE anchors (
    room_no INTEGER NOT NULL,
    invitation BLOB NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    anchor BLOB NOT NULL,
    PRIMARY KEY (room_no, invitation)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE accounts (
    account_no INTEGER PRIMARY KEY,
    account TEXT NOT NULL UNIQUE,
    certificate BLOB NOT NULL,
    root_hash BLOB NOT NULL
  ) STRICT;
  CREATE TABLE key_packages (
    package_no INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    device BLOB NOT NULL,
    suite INTEGER NOT NULL,
    last_resort INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    reference BLOB NOT NULL UNIQUE,
    key_package BLOB NOT NULL
  ) STRICT;
  CREATE INDEX key_packages_by_owner ON key_packages (account, device, suite, last_resort);
  CREATE TABLE claimed_key_packages (
    reference BLOB PRIMARY KEY,
    not_after INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX claimed_key_packages_by_time ON claimed_key_packages (not_after);
  CREATE TABLE welcome_bodies (
    body_no INTEGER PRIMARY KEY,
    welcome BLOB NOT NULL
  ) STRICT;
  CREATE TABLE welcomes (
    welcome_no INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    device BLOB NOT NULL,
    room_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    held INTEGER NOT NULL,
    body_no INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX welcomes_by_room ON welcomes (room_no, position);
  CREATE INDEX welcomes_by_owner ON welcomes (account, device);
  CREATE INDEX welcomes_by_body ON welcomes (body_no);
  `,
]

export type SchemaRefusal = 'newerSchema' | 'olderSchema' | 'foreignFile' | 'unreadable'

export type OpenedDatabase =
  | { readonly kind: 'opened'; readonly db: DatabaseSync }
  | { readonly kind: 'refused'; readonly code: SchemaRefusal }

/**
 * Opens the file for writing and brings it to the newest schema. WAL with `synchronous=FULL` syncs
 * the log of every commit before it returns; checkpoints stay automatic and happen in the writer.
 */
export function openForWriting(path: string): OpenedDatabase {
  return open(path, (db) => {
    const refusal = judge(db)
    if (refusal !== null) return refusal
    db.exec('PRAGMA journal_mode=WAL')
    db.exec('PRAGMA synchronous=FULL')
    db.exec('PRAGMA wal_autocheckpoint=4000')
    db.exec('PRAGMA journal_size_limit=67108864')
    db.exec('PRAGMA cache_size=-32000')
    migrate(db)
    return null
  })
}

/** Opens the file for reading; the writer has opened it before. */
export function openForReading(path: string): OpenedDatabase {
  return open(path, (db) => {
    db.exec('PRAGMA cache_size=-32000')
    return null
  }, true)
}

function open(
  path: string,
  prepare: (db: DatabaseSync) => SchemaRefusal | null,
  readOnly = false,
): OpenedDatabase {
  let db: DatabaseSync | null = null
  try {
    db = new DatabaseSync(path, { readOnly })
    db.exec('PRAGMA busy_timeout=5000')
    const refusal = prepare(db)
    if (refusal === null) return { kind: 'opened', db }
    db.close()
    return { kind: 'refused', code: refusal }
  } catch (error) {
    db?.close()
    return { kind: 'refused', code: isNotADatabase(error) ? 'foreignFile' : 'unreadable' }
  }
}

/** SQLITE_NOTADB is 26. */
function isNotADatabase(error: unknown): boolean {
  return (error as { errcode?: unknown }).errcode === 26
}

function judge(db: DatabaseSync): SchemaRefusal | null {
  const version = readNumber(db, 'PRAGMA user_version')
  const application = readNumber(db, 'PRAGMA application_id')
  const tables = readNumber(db, 'SELECT count(*) FROM sqlite_schema')
  if (application === 0 && version === 0 && tables === 0) return null
  if (application !== APPLICATION_ID) return 'foreignFile'
  if (version < OLDEST_VERSION) return 'olderSchema'
  return version >= OLDEST_VERSION + MIGRATIONS.length ? 'newerSchema' : null
}

function migrate(db: DatabaseSync): void {
  const before = Math.max(readNumber(db, 'PRAGMA user_version'), OLDEST_VERSION - 1)
  for (const [index, script] of MIGRATIONS.entries()) {
    const version = OLDEST_VERSION + index
    if (version <= before) continue
    db.exec(
      `BEGIN IMMEDIATE; ${script};
       PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${version}; COMMIT`,
    )
  }
}

function readNumber(db: DatabaseSync, sql: string): number {
  const row = db.prepare(sql).get() as Record<string, unknown>
  return Number(Object.values(row)[0])
}
