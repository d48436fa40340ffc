/**
 * Reading whole ranges of the store, page by page. Owns the size of a page.
 */
import type { DeviceRecord, DeviceStore, DeviceTable } from '#core/device/store.ts'

const PAGE = 500
export const EVERYTHING = { from: '', to: '\uffff' }

/** All records of a range. */
export async function readAll(
  store: DeviceStore,
  table: DeviceTable,
  range: { readonly from: string; readonly to: string },
): Promise<readonly DeviceRecord[]> {
  const pages: (readonly DeviceRecord[])[] = []
  let { from } = range
  for (;;) {
    const page = await store.readRange(table, {
      from,
      to: range.to,
      limit: PAGE,
      descending: false,
    })
    pages.push(page)
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return pages.flat()
    from = `${last.key}\u0000`
  }
}
