/**
 * Welcomes that wait, in SQLite: kept with the entries that they belong to, held back until their
 * epoch is final, taken away by a void. Owns the statements that change them; the rows are proven
 * in `sqlite-holdings.ts`, whoever calls owns the transaction.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { UnpackedRoom, UnpackedWelcome } from './sqlite-batch.ts'
import type { Operation } from './sqlite-batch.ts'
import { type Holdings, takeHoldings, welcomeChecksum } from './sqlite-holdings.ts'
import { findHoldings, readHoldings, toWelcomeRow } from './sqlite-holdings.ts'
import { type WelcomeRow, writeHoldings } from './sqlite-holdings.ts'
import { addUp, changeSum, checksumOf, mustHold, type Sql, sumOf } from './sqlite-proof.ts'
import type { RoomRow } from './sqlite-room.ts'

type DeleteWelcome = Extract<Operation, { readonly kind: 'deleteWelcome' }>

/** A device that lets its queue fill up gets no more until it has taken some. */
export function storeWelcomes(
  sql: Sql,
  room: RoomRow,
  append: UnpackedRoom,
  nextNumber: () => number,
): void {
  const bodyNos = new Map<number, number>()
  for (const welcome of append.welcomes) {
    const holdings = takeHoldings(sql, welcome.account, nextNumber)
    const waiting = sql(
      'SELECT count(*) AS waiting FROM welcomes WHERE account_no = ? AND device = ?',
    ).get(holdings.accountNo, welcome.device)
    if (sumOf(waiting?.waiting ?? null) >= LIMITS.welcomesPerDeviceMax) continue
    let bodyNo = bodyNos.get(welcome.body)
    if (bodyNo === undefined) {
      bodyNo = nextNumber()
      insertBody(sql, bodyNo, append.bodies[welcome.body] as Uint8Array)
      bodyNos.set(welcome.body, bodyNo)
    }
    insertWelcome(sql, { room, holdings, welcome, welcomeNo: nextNumber(), bodyNo })
  }
}

function insertBody(sql: Sql, bodyNo: number, welcome: Uint8Array): void {
  sql('INSERT INTO welcome_bodies (body_no, checksum, welcome) VALUES (?, ?, ?)')
    .run(bodyNo, checksumOf('welcome_bodies', [bodyNo, welcome]), welcome)
}

function insertWelcome(
  sql: Sql,
  { room, holdings, welcome, welcomeNo, bodyNo }: {
    readonly room: RoomRow
    readonly holdings: Holdings
    readonly welcome: UnpackedWelcome
    readonly welcomeNo: number
    readonly bodyNo: number
  },
): void {
  const { accountNo } = holdings
  const { device, position } = welcome
  const held = welcome.held ? 1 : 0
  const row = { welcomeNo, accountNo, device, roomNo: room.roomNo, position, held, bodyNo }
  const checksum = welcomeChecksum(row)
  sql(
    `INSERT INTO welcomes
       (welcome_no, account_no, device, room_no, position, held, body_no, checksum)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  ).run(welcomeNo, accountNo, device, room.roomNo, position, held, bodyNo, checksum)
  holdings.welcomesSum = changeSum(holdings.welcomesSum, { more: checksum })
  writeHoldings(sql, holdings)
  if (held === 1) room.heldSum = changeSum(room.heldSum, { more: checksum })
}

/** Those of commits from `voidFrom` on, held back or not. */
export function voidWelcomes(sql: Sql, room: RoomRow, voidFrom: number): void {
  for (const row of welcomesOf(sql, room)) {
    if (row.position < voidFrom) continue
    const { welcomeNo, checksum, held } = row
    sql('DELETE FROM welcomes WHERE welcome_no = ?').run(welcomeNo)
    changeHoldings(sql, row, { less: checksum })
    if (held === 1) room.heldSum = changeSum(room.heldSum, { less: checksum })
    dropBody(sql, row.bodyNo)
  }
}

/** Those of commits up to a position are held back no more. */
export function releaseWelcomes(sql: Sql, room: RoomRow, upTo: number): void {
  if (room.heldSum === 0) return
  for (const row of welcomesOf(sql, room)) {
    if (row.held !== 1 || row.position > upTo) continue
    const { welcomeNo, checksum: less } = row
    const more = welcomeChecksum({ ...row, held: 0 })
    sql('UPDATE welcomes SET held = 0, checksum = ? WHERE welcome_no = ?').run(more, welcomeNo)
    changeHoldings(sql, row, { less, more })
    room.heldSum = changeSum(room.heldSum, { less })
  }
}

/** All that wait for devices of the room; those that are held back are proven to be there. */
function welcomesOf(sql: Sql, { roomNo, heldSum }: RoomRow): readonly WelcomeRow[] {
  const rows = sql('SELECT * FROM welcomes WHERE room_no = ?').all(roomNo).map(toWelcomeRow)
  const held = rows.filter((row) => row.held === 1)
  mustHold(addUp(held.map(({ checksum }) => checksum)) === heldSum)
  return rows
}

function changeHoldings(
  sql: Sql,
  { accountNo }: WelcomeRow,
  change: { readonly less: number; readonly more?: number },
): void {
  const holdings = readHoldings(sql, accountNo)
  holdings.welcomesSum = changeSum(holdings.welcomesSum, change)
  writeHoldings(sql, holdings)
}

/** One that is held back was not given out, and cannot have been taken. */
export function deleteWelcome(sql: Sql, { account, device, id }: DeleteWelcome): null {
  const holdings = findHoldings(sql, account)
  if (holdings === null) return null
  const found = sql('SELECT * FROM welcomes WHERE welcome_no = ?').get(id)
  if (found === undefined) return null
  const row = toWelcomeRow(found)
  if (row.accountNo !== holdings.accountNo || row.held === 1) return null
  if (!equalBytes(row.device, device)) return null
  sql('DELETE FROM welcomes WHERE welcome_no = ?').run(id)
  changeHoldings(sql, row, { less: row.checksum })
  dropBody(sql, row.bodyNo)
  return null
}

/** Unless a Welcome still needs it. */
function dropBody(sql: Sql, bodyNo: number): void {
  sql(
    `DELETE FROM welcome_bodies WHERE body_no = ?
     AND NOT EXISTS (SELECT 1 FROM welcomes WHERE body_no = ?)`,
  ).run(bodyNo, bodyNo)
}
