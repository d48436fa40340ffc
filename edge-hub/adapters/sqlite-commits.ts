/**
 * The number of the last transaction that was acknowledged, in a small file beside the database.
 * SQLite ends its write-ahead log at the first frame whose checksum is wrong, and takes the state
 * before it: where a byte of it has changed, transactions are gone without a word. The number is
 * written after each transaction and before its acknowledgement, and is not synced: after a power
 * loss it may be an older one or none, which says less and nothing wrong. Owns that file.
 */
import { checksumOf } from './sqlite-proof.ts'

/** Number and checksum. Two slots in turn: one that was cut short leaves the one before. */
const SLOT_LENGTH = 16
const SLOT_COUNT = 2

export interface CommitsFile {
  /** The last number that was noted; 0 where none is known. */
  readonly noted: number
  note(commits: number): void
  close(): void
}

/** Throws when the file cannot be had. */
export function openCommitsFile(path: string): CommitsFile {
  const options = { read: true, write: true, create: true, mode: 0o600 }
  const file = Deno.openSync(path, options)
  const slots = new Uint8Array(SLOT_LENGTH * SLOT_COUNT)
  for (let length = 0, read: number | null = 0; read !== null && length < slots.length;) {
    read = file.readSync(slots.subarray(length))
    length += read ?? 0
  }
  // Takes its place on the disk while there is some.
  writeAt(file, 0, slots)
  const slot = new Uint8Array(SLOT_LENGTH)
  return {
    noted: Math.max(...[0, 1].map((index) => readSlot(slots, index * SLOT_LENGTH))),
    note(commits) {
      const view = new DataView(slot.buffer)
      view.setFloat64(0, commits)
      view.setUint32(8, checksumOf('commits', [commits]))
      writeAt(file, (commits % SLOT_COUNT) * SLOT_LENGTH, slot)
    },
    close: () => file.close(),
  }
}

function writeAt(file: Deno.FsFile, at: number, bytes: Uint8Array): void {
  file.seekSync(at, Deno.SeekMode.Start)
  for (let offset = 0; offset < bytes.length;) offset += file.writeSync(bytes.subarray(offset))
}

function readSlot(slots: Uint8Array, offset: number): number {
  const view = new DataView(slots.buffer, offset)
  const commits = view.getFloat64(0)
  return view.getUint32(8) === checksumOf('commits', [commits]) ? commits : 0
}
