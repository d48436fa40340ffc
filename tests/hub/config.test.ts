/** Configuration: defaults, every refusal, and no value in what a person reads. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { CONFIG_VARIABLES, explainRefusal, readConfig } from '#hub/config.ts'

const read = (variables: Record<string, string>) => readConfig((name) => variables[name])

Deno.test('without variables the hub has working defaults', () => {
  deepStrictEqual(read({}), {
    kind: 'config',
    config: {
      port: 4433,
      dataDir: './data',
      domain: 'localhost',
      certificate: null,
      keyFile: './data.key',
      appDir: null,
      appOrigins: '*',
      logFile: null,
    },
  })
  deepStrictEqual(read({ KALANDRA_PORT: '', KALANDRA_DATA: '' }), read({}))
})

Deno.test('every variable is taken', () => {
  const all = {
    KALANDRA_PORT: '0',
    KALANDRA_DATA: '/srv/kalandra/',
    KALANDRA_DOMAIN: 'hub.example',
    KALANDRA_CERT: '/etc/cert.pem',
    KALANDRA_CERT_KEY: '/etc/key.pem',
    KALANDRA_KEY_FILE: '/etc/kalandra.key',
    KALANDRA_APP_DIR: '/srv/app/',
    KALANDRA_APP_ORIGINS: 'https://app.example, http://localhost:5173',
    KALANDRA_LOG: '/var/log/kalandra',
  }
  deepStrictEqual(Object.keys(all), [...CONFIG_VARIABLES])
  deepStrictEqual(read(all), {
    kind: 'config',
    config: {
      port: 0,
      dataDir: '/srv/kalandra',
      domain: 'hub.example',
      certificate: { certFile: '/etc/cert.pem', keyFile: '/etc/key.pem' },
      keyFile: '/etc/kalandra.key',
      appDir: '/srv/app',
      appOrigins: ['https://app.example', 'http://localhost:5173'],
      logFile: '/var/log/kalandra',
    },
  })
})

const REFUSED: readonly [Record<string, string>, string, string][] = [
  [{ KALANDRA_PORT: '65536' }, 'badPort', 'KALANDRA_PORT'],
  [{ KALANDRA_PORT: '-1' }, 'badPort', 'KALANDRA_PORT'],
  [{ KALANDRA_PORT: '80 ' }, 'badPort', 'KALANDRA_PORT'],
  [{ KALANDRA_PORT: '1e3' }, 'badPort', 'KALANDRA_PORT'],
  [{ KALANDRA_DATA: 'a\0b' }, 'badPath', 'KALANDRA_DATA'],
  [{ KALANDRA_DOMAIN: 'Hub.example' }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_DOMAIN: 'hub.example:4433' }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_DOMAIN: '-hub.example' }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_DOMAIN: '192.0.2.1' }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_DOMAIN: `${'a'.repeat(64)}.example` }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_DOMAIN: 'a.'.repeat(127) + 'aa' }, 'badDomain', 'KALANDRA_DOMAIN'],
  [{ KALANDRA_CERT: 'cert.pem' }, 'halfCertificate', 'KALANDRA_CERT'],
  [{ KALANDRA_CERT_KEY: 'key.pem' }, 'halfCertificate', 'KALANDRA_CERT_KEY'],
  [{ KALANDRA_KEY_FILE: './data/key' }, 'keyFileInsideData', 'KALANDRA_KEY_FILE'],
  [
    { KALANDRA_DATA: '/srv/a', KALANDRA_KEY_FILE: '/srv/b/../a/./key' },
    'keyFileInsideData',
    'KALANDRA_KEY_FILE',
  ],
  [{ KALANDRA_APP_ORIGINS: 'app.example' }, 'badOrigin', 'KALANDRA_APP_ORIGINS'],
  [{ KALANDRA_APP_ORIGINS: 'https://app.example/' }, 'badOrigin', 'KALANDRA_APP_ORIGINS'],
  [{ KALANDRA_APP_ORIGINS: 'https://a.example,*' }, 'badOrigin', 'KALANDRA_APP_ORIGINS'],
  [{ KALANDRA_APP_ORIGINS: 'javascript:0' }, 'badOrigin', 'KALANDRA_APP_ORIGINS'],
]

for (const [variables, code, variable] of REFUSED) {
  Deno.test(`${JSON.stringify(variables).slice(0, 60)} is refused with ${code}`, () => {
    const refused = read(variables)
    deepStrictEqual(refused, { kind: 'refused', code, variable })
    ok(refused.kind === 'refused')
    const line = explainRefusal(refused)
    strictEqual(line.split('\n').length, 1)
    ok(line.startsWith(variable))
  })
}

Deno.test('a key file beside the data folder is taken, also with a name that begins alike', () => {
  const taken = read({ KALANDRA_DATA: '/srv/data', KALANDRA_KEY_FILE: '/srv/data-key' })
  strictEqual(taken.kind, 'config')
})
