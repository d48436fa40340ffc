/**
 * The schema of the hub's database file, its versions, the settings of each connection, and what
 * must hold before anything is read. Owns every CREATE statement and the row of the store itself;
 * owns no other query (see `sqlite-reader.ts` for reads, `sqlite-writer.ts` for writes).
 */
import { DatabaseSync } from 'node:sqlite'
import { type CommitsFile, openCommitsFile } from './sqlite-commits.ts'
import { createRings } from './sqlite-names.ts'
import { checksumOf, type Row, type Sql, statementsOf } from './sqlite-proof.ts'

/** Marks the file as ours: "KLND". */
const APPLICATION_ID = 0x4b4c4e44

/** Files of a version below this one prove nothing. */
const OLDEST_VERSION = 3

/**
 * One script per schema version from the oldest on, applied in order and never changed once
 * released.
 *
 * `checksum` proves the row that it stands in, a column that ends with `_sum` all rows of its kind
 * (`sqlite-proof.ts`). What is large stands last: a row is proven without it where it has a
 * checksum of its own. Numbers of rooms, accounts, packages, Welcomes and bodies come from one
 * counter and never return.
 *
 * The log is an append-ordered rowid table: a key clustered by room makes the writes of a batch
 * land all over the file and halves the throughput across many rooms.
 *
 * Heads, nodes and certificates of a group are rows of an interval: from the version at `position`
 * up to, not with, the one at `until`; null: up to now. A head carries the sums of its version.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE store (
    store_no INTEGER PRIMARY KEY,
    commits INTEGER NOT NULL,
    next_number INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE names (
    kind INTEGER NOT NULL,
    name BLOB NOT NULL,
    after BLOB NOT NULL,
    number INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE rooms (
    room_no INTEGER PRIMARY KEY,
    room BLOB NOT NULL,
    term INTEGER NOT NULL,
    next INTEGER NOT NULL,
    head_hash BLOB NOT NULL,
    state_sum INTEGER NOT NULL,
    generations_sum INTEGER NOT NULL,
    heads_sum INTEGER NOT NULL,
    anchors_sum INTEGER NOT NULL,
    held_sum INTEGER NOT NULL,
    checksum INTEGER NOT NULL
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
    checksum INTEGER NOT NULL,
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
    nodes_sum INTEGER NOT NULL,
    certificates_sum INTEGER NOT NULL,
    head_checksum INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
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
    checksum INTEGER NOT NULL,
    bytes BLOB NOT NULL
  ) STRICT;
  CREATE INDEX group_nodes_by_node ON group_nodes (room_no, node, position, until, checksum);
  CREATE INDEX group_nodes_past ON group_nodes (room_no, until) WHERE until IS NOT NULL;
  CREATE TABLE group_certificates (
    certificate_no INTEGER PRIMARY KEY,
    room_no INTEGER NOT NULL,
    hash BLOB NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    checksum INTEGER NOT NULL,
    certificate BLOB NOT NULL
  ) STRICT;
  CREATE INDEX group_certificates_by_hash
    ON group_certificates (room_no, hash, position, until, checksum);
  CREATE INDEX group_certificates_past ON group_certificates (room_no, until)
    WHERE until IS NOT NULL;
  CREATE TABLE anchors (
    room_no INTEGER NOT NULL,
    invitation BLOB NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    anchor_checksum INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    anchor BLOB NOT NULL,
    PRIMARY KEY (room_no, invitation)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE accounts (
    account_no INTEGER PRIMARY KEY,
    root_hash BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    certificate BLOB NOT NULL
  ) STRICT;
  CREATE TABLE holdings (
    account_no INTEGER PRIMARY KEY,
    account_checksum INTEGER NOT NULL,
    packages_sum INTEGER NOT NULL,
    welcomes_sum INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE key_packages (
    package_no INTEGER PRIMARY KEY,
    account_no INTEGER NOT NULL,
    device BLOB NOT NULL,
    suite INTEGER NOT NULL,
    last_resort INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    reference BLOB NOT NULL,
    package_checksum INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    key_package BLOB NOT NULL
  ) STRICT;
  CREATE INDEX key_packages_by_account ON key_packages (account_no);
  CREATE TABLE claimed_key_packages (
    claim_no INTEGER PRIMARY KEY,
    not_after INTEGER NOT NULL,
    reference BLOB NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX claimed_key_packages_by_time ON claimed_key_packages (not_after);
  CREATE TABLE welcome_bodies (
    body_no INTEGER PRIMARY KEY,
    checksum INTEGER NOT NULL,
    welcome BLOB NOT NULL
  ) STRICT;
  CREATE TABLE welcomes (
    welcome_no INTEGER PRIMARY KEY,
    account_no INTEGER NOT NULL,
    device BLOB NOT NULL,
    room_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    held INTEGER NOT NULL,
    body_no INTEGER NOT NULL,
    checksum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX welcomes_by_room ON welcomes (room_no, position);
  CREATE INDEX welcomes_by_account ON welcomes (account_no, device);
  CREATE INDEX welcomes_by_body ON welcomes (body_no);
  `,
]

/** `damaged`: not as it was written. `commitsLost`: acknowledged transactions are gone. */
export type SchemaRefusal =
  | 'newerSchema'
  | 'olderSchema'
  | 'foreignFile'
  | 'unreadable'
  | 'damaged'
  | 'commitsLost'

export interface OpenedReader {
  readonly kind: 'opened'
  readonly db: DatabaseSync
}

export interface OpenedWriter extends OpenedReader {
  readonly sql: Sql
  readonly store: StoreRow
  readonly commitsFile: CommitsFile
}

export interface Refused {
  readonly kind: 'refused'
  readonly code: SchemaRefusal
}

const refused = (code: SchemaRefusal): Refused => ({ kind: 'refused', code })

/**
 * Opens the file for writing and brings it to the newest schema. WAL with `synchronous=FULL` syncs
 * the log of every commit before it returns; checkpoints stay automatic and happen in the writer.
 * What is deleted is overwritten, so that no damaged pointer brings it back. A file that is refused
 * is left as it was, with all of its log.
 */
export function openForWriting(path: string): OpenedWriter | Refused {
  let commitsFile: CommitsFile
  try {
    commitsFile = openCommitsFile(`${path}-commits`)
  } catch {
    return refused('unreadable')
  }
  const opened = openJudged(path, commitsFile)
  if (opened.kind === 'refused') commitsFile.close()
  return opened
}

function openJudged(path: string, commitsFile: CommitsFile): OpenedWriter | Refused {
  // A connection that cannot write folds no log into the file when it closes.
  const judged = open(path, true, (db) => {
    const refusal = judge(db, commitsFile.noted)
    return refusal === null ? { kind: 'opened', db } : refused(refusal)
  })
  if (judged.kind === 'refused') return judged
  judged.db.close()
  return open(path, false, (db) => {
    set(db, 'journal_mode=WAL')
    set(db, 'synchronous=FULL')
    set(db, 'secure_delete=FAST')
    set(db, 'wal_autocheckpoint=4000')
    set(db, 'journal_size_limit=67108864')
    set(db, 'cache_size=-32000')
    migrate(db)
    const sql = statementsOf(db)
    const store = readStore(sql)
    return store === null ? refused('damaged') : { kind: 'opened', db, sql, store, commitsFile }
  })
}

/** Opens the file for reading; the writer has opened it before. */
export function openForReading(path: string): OpenedReader | Refused {
  return open(path, true, (db) => {
    set(db, 'cache_size=-32000')
    return { kind: 'opened', db }
  })
}

function open<T extends OpenedReader>(
  path: string,
  readOnly: boolean,
  prepare: (db: DatabaseSync) => T | Refused,
): T | Refused {
  let db: DatabaseSync | null = null
  try {
    db = new DatabaseSync(path, { readOnly })
    set(db, 'busy_timeout=5000')
    const prepared = prepare(db)
    if (prepared.kind === 'refused') db.close()
    return prepared
  } catch (error) {
    db?.close()
    return refused(codeOf(error))
  }
}

/** Prepared, since an error of `exec` has no code. */
function set(db: DatabaseSync, setting: string): void {
  db.prepare(`PRAGMA ${setting}`).get()
}

function codeOf(error: unknown): SchemaRefusal {
  const { errcode } = error as { errcode?: unknown }
  if (typeof errcode !== 'number') return 'unreadable'
  switch (errcode & 0xff) {
    case SQLITE_NOTADB:
      return 'foreignFile'
    case SQLITE_CORRUPT:
      return 'damaged'
    default:
      return 'unreadable'
  }
}

const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

function judge(db: DatabaseSync, noted: number): SchemaRefusal | null {
  const version = readNumber(db, 'PRAGMA user_version')
  const application = readNumber(db, 'PRAGMA application_id')
  const tables = readNumber(db, 'SELECT count(*) FROM sqlite_schema')
  if (application === 0 && version === 0 && tables === 0) return noted > 0 ? 'commitsLost' : null
  if (application !== APPLICATION_ID) return 'foreignFile'
  if (version < OLDEST_VERSION) return 'olderSchema'
  if (version >= OLDEST_VERSION + MIGRATIONS.length) return 'newerSchema'
  const store = isAsMade(db) ? readStore(statementsOf(db)) : null
  if (store === null) return 'damaged'
  return store.commits < noted ? 'commitsLost' : null
}

function migrate(db: DatabaseSync): void {
  const before = Math.max(readNumber(db, 'PRAGMA user_version'), OLDEST_VERSION - 1)
  for (const [index, script] of MIGRATIONS.entries()) {
    const version = OLDEST_VERSION + index
    if (version <= before) continue
    db.exec(`BEGIN IMMEDIATE; ${script}`)
    if (index === 0) fill(statementsOf(db))
    db.exec(`PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${version}; COMMIT`)
  }
}

function fill(sql: Sql): void {
  createRings(sql)
  writeStore(sql, { commits: 0, nextNumber: 1 })
}

// ---- What must hold -----------------------------------------------------------------------

/** Of the file's header, as SQLite makes a new file; another value means another reading. */
const HEADER = {
  page_size: 4_096,
  encoding: 'UTF-8',
  auto_vacuum: 0,
} as const

/** Header and schema are those that a new file gets. */
function isAsMade(db: DatabaseSync): boolean {
  for (const [name, value] of Object.entries(HEADER)) {
    if (Object.values(db.prepare(`PRAGMA ${name}`).get() as Row)[0] !== value) return false
  }
  newSchema ??= makeSchema()
  return newSchema === schemaOf(db)
}

let newSchema: string | null = null

function makeSchema(): string {
  const made = new DatabaseSync(':memory:')
  try {
    for (const script of MIGRATIONS) made.exec(script)
    return schemaOf(made)
  } finally {
    made.close()
  }
}

const schemaOf = (db: DatabaseSync): string =>
  JSON.stringify(db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_schema').all())

export interface StoreRow {
  /** Transactions until now. */
  readonly commits: number
  readonly nextNumber: number
}

export function writeStore(sql: Sql, { commits, nextNumber }: StoreRow): void {
  sql('INSERT OR REPLACE INTO store (store_no, commits, next_number, checksum) VALUES (1, ?, ?, ?)')
    .run(commits, nextNumber, checksumOf('store', [commits, nextNumber]))
}

function readStore(sql: Sql): StoreRow | null {
  const row = sql('SELECT commits, next_number, checksum FROM store WHERE store_no = 1').get()
  if (row === undefined) return null
  const [commits, nextNumber] = [Number(row.commits), Number(row.next_number)]
  return row.checksum === checksumOf('store', [commits, nextNumber])
    ? { commits, nextNumber }
    : null
}

function readNumber(db: DatabaseSync, sql: string): number {
  const row = db.prepare(sql).get() as Row
  return Number(Object.values(row)[0])
}
