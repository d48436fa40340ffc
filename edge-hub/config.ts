/**
 * The hub's configuration: environment in, checked values or one coded refusal out. Owns the names
 * and defaults of the variables; opens no file.
 *
 * | Variable | Default | Meaning |
 * | --- | --- | --- |
 * | `KALANDRA_PORT` | 4433 | TCP (HTTP, WebSocket) and UDP (WebTransport) |
 * | `KALANDRA_DATA` | ./data | folder of the store; one hub at a time |
 * | `KALANDRA_DOMAIN` | localhost | name under which the hub attests accounts |
 * | `KALANDRA_CERT`, `KALANDRA_CERT_KEY` | none | PEM files, read again when they change |
 * | `KALANDRA_KEY_FILE` | `KALANDRA_DATA` + `.key` | seals the hub's key; outside of the folder |
 * | `KALANDRA_APP_DIR` | none | built app to serve |
 * | `KALANDRA_APP_ORIGINS` | * | origins, separated by commas, that may look the hub up |
 * | `KALANDRA_LOG` | standard error | file of events |
 */
import type { HubDomain } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'

export interface HubConfig {
  readonly port: number
  readonly dataDir: string
  readonly domain: HubDomain
  readonly certificate: { readonly certFile: string; readonly keyFile: string } | null
  readonly keyFile: string
  readonly appDir: string | null
  readonly appOrigins: readonly string[] | '*'
  /** Null: standard error. */
  readonly logFile: string | null
}

export type ConfigRefusalCode =
  | 'badPort'
  | 'badPath'
  | 'badDomain'
  | 'badOrigin'
  | 'halfCertificate'
  | 'keyFileInsideData'

export interface ConfigRefusal {
  readonly kind: 'refused'
  readonly code: ConfigRefusalCode
  readonly variable: string
}

export type ReadConfig = { readonly kind: 'config'; readonly config: HubConfig } | ConfigRefusal

/** Every variable that is read; what `--allow-env` must name. */
export const CONFIG_VARIABLES = [
  'KALANDRA_PORT',
  'KALANDRA_DATA',
  'KALANDRA_DOMAIN',
  'KALANDRA_CERT',
  'KALANDRA_CERT_KEY',
  'KALANDRA_KEY_FILE',
  'KALANDRA_APP_DIR',
  'KALANDRA_APP_ORIGINS',
  'KALANDRA_LOG',
] as const
export type ConfigVariable = (typeof CONFIG_VARIABLES)[number]

const EXPLANATIONS: Readonly<Record<ConfigRefusalCode, string>> = {
  badPort: 'must be a whole number from 0 to 65535',
  badPath: 'must be a path',
  badDomain: 'must be a lower-case domain name without port',
  badOrigin: 'must be "*" or origins such as https://app.example, separated by commas',
  halfCertificate: 'needs the other one of KALANDRA_CERT and KALANDRA_CERT_KEY',
  keyFileInsideData: 'must lie outside of KALANDRA_DATA',
}

/** One line for a person, without the value. */
export function explainRefusal({ code, variable }: ConfigRefusal): string {
  return `${variable} ${EXPLANATIONS[code]} (${code})`
}

/** Reads and checks all variables; an empty one counts as absent. The first fault is returned. */
export function readConfig(read: (name: ConfigVariable) => string | undefined): ReadConfig {
  const get = (name: ConfigVariable) => read(name) || null
  const refuse = (code: ConfigRefusalCode, variable: ConfigVariable): ReadConfig => ({
    kind: 'refused',
    code,
    variable,
  })
  for (const name of PATHS) if (get(name)?.includes('\0')) return refuse('badPath', name)
  const port = parsePort(get('KALANDRA_PORT') ?? '4433')
  if (port === null) return refuse('badPort', 'KALANDRA_PORT')
  const domain = parseDomain(get('KALANDRA_DOMAIN') ?? 'localhost')
  if (domain === null) return refuse('badDomain', 'KALANDRA_DOMAIN')
  const dataDir = withoutTrailingSlash(get('KALANDRA_DATA') ?? './data')
  const keyFile = get('KALANDRA_KEY_FILE') ?? `${dataDir}.key`
  if (isInside(keyFile, dataDir)) return refuse('keyFileInsideData', 'KALANDRA_KEY_FILE')
  const certFile = get('KALANDRA_CERT')
  const certKeyFile = get('KALANDRA_CERT_KEY')
  if (certFile === null && certKeyFile !== null) {
    return refuse('halfCertificate', 'KALANDRA_CERT_KEY')
  }
  if (certFile !== null && certKeyFile === null) return refuse('halfCertificate', 'KALANDRA_CERT')
  const appOrigins = parseOrigins(get('KALANDRA_APP_ORIGINS') ?? '*')
  if (appOrigins === null) return refuse('badOrigin', 'KALANDRA_APP_ORIGINS')
  const certificate = certFile === null || certKeyFile === null
    ? null
    : { certFile, keyFile: certKeyFile }
  const appDir = get('KALANDRA_APP_DIR')
  return {
    kind: 'config',
    config: {
      port,
      dataDir,
      domain,
      certificate,
      keyFile,
      appDir: appDir === null ? null : withoutTrailingSlash(appDir),
      appOrigins,
      logFile: get('KALANDRA_LOG'),
    },
  }
}

const PATHS = [
  'KALANDRA_DATA',
  'KALANDRA_CERT',
  'KALANDRA_CERT_KEY',
  'KALANDRA_KEY_FILE',
  'KALANDRA_APP_DIR',
  'KALANDRA_LOG',
] as const

function parsePort(text: string): number | null {
  const port = Number(text)
  return /^\d{1,5}$/.test(text) && port <= 65_535 ? port : null
}

/** Labels of letters, digits and inner hyphens (RFC 5890 section 2.3.1); no address. */
function parseDomain(text: string): HubDomain | null {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
  const wellFormed = new RegExp(`^${label}(\\.${label})*$`).test(text)
  const isAddress = /(^|\.)\d+$/.test(text)
  return wellFormed && !isAddress && text.length <= LIMITS.hubDomainMax ? text as HubDomain : null
}

function parseOrigins(text: string): readonly string[] | '*' | null {
  if (text.trim() === '*') return '*'
  const origins = text.split(',').map((origin) => origin.trim())
  return origins.every(isOrigin) ? origins : null
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && /^https?:/.test(text) && new URL(text).origin === text
}

function withoutTrailingSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') || '/' : path
}

/** By the letters of the two paths; links are not followed. */
function isInside(path: string, folder: string): boolean {
  const parts = normalParts(path)
  const folderParts = normalParts(folder)
  return path.startsWith('/') === folder.startsWith('/') &&
    folderParts.every((part, i) => parts[i] === part)
}

function normalParts(path: string): string[] {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..' && parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else parts.push(part)
  }
  return parts
}
