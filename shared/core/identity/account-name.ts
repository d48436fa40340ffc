/**
 * Account names (ID-1). Owns their grammar: `user@domain`, lower-case ASCII, the domain a
 * lower-case A-label without port. Owns no directory.
 */
import type { AccountName, HubDomain } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'

const USER = /^[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/
const DOMAIN_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** True for a user part of 1 to 32 characters: letters, digits, and `._-` inside (ID-1). */
export function isUserName(text: string): boolean {
  return text.length <= LIMITS.userNameMax && USER.test(text) && !/[._-]{2}/.test(text)
}

/** The domain, or null when it is none (ID-1). */
export function parseHubDomain(text: string): HubDomain | null {
  if (text.length === 0 || text.length > LIMITS.hubDomainMax) return null
  return text.split('.').every((label) => DOMAIN_LABEL.test(label)) ? text as HubDomain : null
}

export interface AccountNameParts {
  readonly user: string
  readonly domain: HubDomain
}

/** Both parts of `user@domain`, or null when the text is no account name (ID-1). */
export function parseAccountName(text: string): AccountNameParts | null {
  const at = text.indexOf('@')
  if (at < 1 || text.length > LIMITS.accountNameMax) return null
  const domain = parseHubDomain(text.slice(at + 1))
  const user = text.slice(0, at)
  return domain !== null && isUserName(user) ? { user, domain } : null
}

/** Joins checked parts; null when either is not valid (ID-1). */
export function accountName(user: string, domain: string): AccountName | null {
  const text = `${user}@${domain}`
  return parseAccountName(text) === null ? null : text as AccountName
}
