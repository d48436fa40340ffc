/**
 * Which hub this app talks to. Owns reading `/config.json` and the hub's public domain; owns no
 * session.
 */

const answerMsMax = 5_000

async function readJson(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, { signal: AbortSignal.timeout(answerMsMax) })
  if (!response.ok) throw new Error(`status ${response.status}`)
  const value: unknown = await response.json()
  if (typeof value !== 'object' || value === null) throw new Error('not an object')
  return value as Record<string, unknown>
}

/** Origin of the hub: what `/config.json` names, else the origin that served the app. */
export async function readHubOrigin(): Promise<string> {
  try {
    const { hub } = await readJson('/config.json')
    return typeof hub === 'string' ? new URL(hub).origin : location.origin
  } catch {
    return location.origin
  }
}

/** The domain in `name@domain`, or null while the hub does not answer. */
export async function readHubDomain(origin: string): Promise<string | null> {
  try {
    const { domain } = await readJson(`${origin}/.well-known/kalandra`)
    return typeof domain === 'string' ? domain : null
  } catch {
    return null
  }
}
