/**
 * The local list of accounts on this device. Owns the entry in local storage and which account is
 * active; owns no secret and nothing that the hub knows.
 */

const listKey = 'kalandra.accounts'
const listLock = 'kalandra:accounts'
const accountIdSize = 16

export interface LocalAccount {
  /** Local id, 16 random bytes in base64url; names databases, locks and caches. */
  readonly id: string
  /** `name@hub`, empty until the account exists. */
  readonly name: string
  /** True once the account has existed on this device. */
  readonly used: boolean
}

const isLocalAccount = (value: unknown): value is LocalAccount => {
  if (typeof value !== 'object' || value === null) return false
  const { id, name, used } = value as Record<string, unknown>
  return typeof id === 'string' && /^[A-Za-z0-9_-]{22}$/.test(id) && typeof name === 'string' &&
    typeof used === 'boolean'
}

function readAccounts(): LocalAccount[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(listKey) ?? '[]')
    return Array.isArray(list) ? list.filter(isLocalAccount) : []
  } catch {
    return []
  }
}

function newAccountId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(accountIdSize))
  const text = btoa(String.fromCharCode(...bytes))
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** Changes the list while no other tab does. */
function change<Result>(step: (list: LocalAccount[]) => [LocalAccount[], Result]): Promise<Result> {
  return navigator.locks.request(listLock, () => {
    const [list, result] = step(readAccounts())
    localStorage.setItem(listKey, JSON.stringify(list))
    return result
  })
}

/** The active account; a device without one gets a fresh id. */
export function activeAccount(): Promise<LocalAccount> {
  return change((list) => {
    const first = list[0] ?? { id: newAccountId(), name: '', used: false }
    return [list.length === 0 ? [first] : list, first]
  })
}

/** Writes down that the account exists, so that empty storage is known as evicted later. */
export function rememberAccount(id: string, name: string): Promise<void> {
  return change((list) => [
    list.map((account) => account.id === id ? { id, name, used: true } : account),
    undefined,
  ])
}

/** Takes the account off the list; its storage is deleted by the engine. */
export function forgetAccount(id: string): Promise<void> {
  return change((list) => [list.filter((account) => account.id !== id), undefined])
}
