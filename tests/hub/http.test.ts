/** The TCP port: routes, headers, caching, TLS from files that change. */
import { deepStrictEqual, ok, rejects, strictEqual } from 'node:assert/strict'
import type { TimeMs } from '#core/base/ids.ts'
import { type CertificateSource, openCertificates } from '#hub/adapters/certificate.ts'
import { type HttpOptions, type HttpServer, startHttp } from '#hub/adapters/http.ts'
import { makeSelfSigned } from '#hub/adapters/x509.ts'

const WELL_KNOWN = {
  domain: 'localhost',
  hubKey: 'AAAA',
  versions: [1],
  sessionPath: '/v1/session',
  certificateHashes: ['BBBB', 'CCCC'],
  webTransport: true,
}

/** Without files nothing of these is used: TCP stays plain. */
const PLAIN: CertificateSource = {
  current: () => ({ certificate: '', key: '' }),
  given: false,
  publishedHashes: () => [],
  subscribe: () => () => {},
  check: () => Promise.resolve(),
  close: () => {},
}

interface Running {
  readonly http: HttpServer
  /** Asks for a path and reads the whole answer. */
  get(path: string, init?: RequestInit): Promise<{ response: Response; body: string }>
}

async function withHttp(
  options: Partial<HttpOptions>,
  test: (running: Running) => Promise<void>,
): Promise<void> {
  const http = await startHttp({
    port: 0,
    certificates: PLAIN,
    webSocket: { upgrade: () => new Response(null, { status: 426 }) },
    wellKnown: () => WELL_KNOWN,
    healthy: () => true,
    appDir: null,
    appOrigins: '*',
    observe: () => {},
    ...options,
  })
  try {
    await test({
      http,
      async get(path, init) {
        const response = await fetch(`http://localhost:${http.port}${path}`, init)
        return { response, body: await response.text() }
      },
    })
  } finally {
    await http.stop()
  }
}

async function withApp(test: (running: Running) => Promise<void>): Promise<void> {
  const parent = Deno.makeTempDirSync()
  const appDir = `${parent}/dist`
  Deno.mkdirSync(`${appDir}/assets`, { recursive: true })
  const files: Record<string, string> = {
    'index.html': '<!doctype html><title>app</title>',
    'sw.js': 'self',
    'config.json': '{"hub":"https://other.example"}',
    'manifest.webmanifest': '{}',
    '.secret': 'no',
    'assets/main-DkQ2_x-1.js': 'export {}',
    'assets/plain.css': 'a{}',
  }
  for (const [name, text] of Object.entries(files)) {
    Deno.writeTextFileSync(`${appDir}/${name}`, text)
  }
  Deno.writeTextFileSync(`${parent}/outside.txt`, 'outside')
  try {
    await withHttp({ appDir }, test)
  } finally {
    Deno.removeSync(parent, { recursive: true })
  }
}

Deno.test('/healthz says whether the log can be written', async () => {
  let healthy = true
  await withHttp({ healthy: () => healthy }, async ({ get }) => {
    const good = await get('/healthz')
    deepStrictEqual([good.response.status, good.body], [200, '{"status":"ok"}'])
    healthy = false
    strictEqual((await get('/healthz')).response.status, 503)
  })
})

Deno.test('WIRE-8: the well-known document is fresh, and readable for apps that may', async () => {
  await withHttp({}, async ({ get }) => {
    const { response, body } = await get('/.well-known/kalandra')
    deepStrictEqual(JSON.parse(body), WELL_KNOWN)
    strictEqual(response.headers.get('content-type'), 'application/json')
    strictEqual(response.headers.get('cache-control'), 'no-store')
    strictEqual(response.headers.get('access-control-allow-origin'), '*')
    strictEqual(response.headers.get('x-content-type-options'), 'nosniff')
  })
  await withHttp({ appOrigins: ['https://app.example'] }, async ({ get }) => {
    const ask = async (origin: string) => {
      const { response } = await get('/.well-known/kalandra', { headers: { origin } })
      strictEqual(response.headers.get('vary'), 'origin')
      return response.headers.get('access-control-allow-origin')
    }
    strictEqual(await ask('https://app.example'), 'https://app.example')
    strictEqual(await ask('https://evil.example'), null)
  })
})

Deno.test('only GET and HEAD are answered; unknown paths are not found', async () => {
  await withHttp({}, async ({ get }) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      strictEqual((await get('/healthz', { method })).response.status, 405)
    }
    const head = await get('/healthz', { method: 'HEAD' })
    deepStrictEqual([head.response.status, head.body], [200, ''])
    for (const path of ['/', '/index.html', '/v1/', '/v1/other', '/.well-known/other']) {
      strictEqual((await get(path)).response.status, 404, path)
    }
    strictEqual((await get('/v1/session')).response.status, 426)
  })
})

Deno.test('a handler that fails answers 500 and is reported', async () => {
  const events: string[] = []
  const healthy = () => {
    throw new Error('a fault of ours')
  }
  const options = { healthy, observe: (event: { kind: string }) => events.push(event.kind) }
  await withHttp(options, async ({ get }) => {
    const { response, body } = await get('/healthz')
    deepStrictEqual([response.status, body], [500, ''])
    deepStrictEqual(events, ['adapterFaulted'])
  })
})

Deno.test("the app comes with its policy, and the hub's own config", async () => {
  await withApp(async ({ get, http }) => {
    const { response, body } = await get('/')
    strictEqual(body, '<!doctype html><title>app</title>')
    strictEqual(response.headers.get('content-type'), 'text/html; charset=utf-8')
    strictEqual(response.headers.get('x-content-type-options'), 'nosniff')
    strictEqual(response.headers.get('referrer-policy'), 'no-referrer')
    const policy = new Map(
      (response.headers.get('content-security-policy') ?? '').split('; ').map((part) => {
        const [name = '', ...values] = part.split(' ')
        return [name, values]
      }),
    )
    deepStrictEqual(policy.get('default-src'), [`'none'`])
    deepStrictEqual(policy.get('script-src'), [`'self'`])
    deepStrictEqual(policy.get('frame-ancestors'), [`'none'`])
    const host = `localhost:${http.port}`
    const connect = [`'self'`, `https://${host}`, `wss://${host}`, `ws://${host}`]
    deepStrictEqual(policy.get('connect-src'), connect)
    ok(![...policy.values()].flat().some((value) => value.includes('unsafe')))
    strictEqual((await get('/config.json')).body, '{"hub":null}')
  })
})

Deno.test('a strange host name does not get into the policy', async () => {
  await withApp(async ({ http }) => {
    for (const host of ['a b', 'x;script-src *', 'evil.example/', "'self'"]) {
      const connection = await Deno.connect({ hostname: 'localhost', port: http.port })
      const request = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
      await connection.write(new TextEncoder().encode(request))
      const answer = await new Response(connection.readable).text()
      const policy = /content-security-policy: (.*)\r/i.exec(answer)?.[1]
      // The server may refuse such a host by itself.
      ok(policy === undefined || policy.includes(`connect-src 'self';`), answer)
    }
  })
})

Deno.test('hashed files are cached for ever, everything else is asked for again', async () => {
  await withApp(async ({ get }) => {
    const caching = async (path: string) => {
      const { response } = await get(path)
      strictEqual(response.status, 200, path)
      return response.headers.get('cache-control')
    }
    strictEqual(await caching('/assets/main-DkQ2_x-1.js'), 'public, max-age=31536000, immutable')
    const asked = ['/', '/index.html', '/sw.js', '/manifest.webmanifest', '/assets/plain.css']
    for (const path of asked) strictEqual(await caching(path), 'no-cache', path)
    strictEqual(await caching('/config.json'), 'no-store')
    const { response } = await get('/sw.js')
    const etag = response.headers.get('etag') ?? ''
    const again = await get('/sw.js', { headers: { 'if-none-match': etag } })
    deepStrictEqual([again.response.status, again.body], [304, ''])
  })
})

Deno.test('paths of the app lead to its page; missing files and paths outside do not', async () => {
  await withApp(async ({ get, http }) => {
    for (const path of ['/join', '/room/abc', '/settings/', '/join?x=1']) {
      strictEqual((await get(path)).body, '<!doctype html><title>app</title>', path)
    }
    const missing = ['/assets/gone-12345678.js', '/gone.png', '/assets/', '/.secret', '/assets']
    for (const path of missing.slice(0, 4)) {
      strictEqual((await get(path)).response.status, 404, path)
    }
    const outside = [
      '/../outside.txt',
      '/%2e%2e/outside.txt',
      '/..%2foutside.txt',
      '/a%5c..%5cb',
      '/%00',
      '/%ff',
    ]
    for (const path of outside) {
      const connection = await Deno.connect({ hostname: 'localhost', port: http.port })
      const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`
      await connection.write(new TextEncoder().encode(request))
      const answer = await new Response(connection.readable).text()
      ok(answer.startsWith('HTTP/1.1 404'), `${path}: ${answer.slice(0, 200)}`)
    }
  })
})

Deno.test('a taken port rejects', async () => {
  await withHttp({}, async ({ http }) => {
    await rejects(withHttp({ port: http.port }, () => Promise.resolve()))
  })
})

Deno.test('with files TCP speaks TLS, and new connections get the new certificate', async () => {
  const folder = Deno.makeTempDirSync()
  const files = { certFile: `${folder}/cert.pem`, keyFile: `${folder}/key.pem` }
  const pairs = [await makePair(), await makePair()] as const
  const write = (pair: typeof pairs[0]) => {
    Deno.writeTextFileSync(files.certFile, pair.certificate)
    Deno.writeTextFileSync(files.keyFile, pair.key)
  }
  write(pairs[0])
  const opened = await openCertificates({
    domain: 'localhost',
    files,
    clock: { nowMs: () => Date.now() as TimeMs },
    observe: () => {},
  })
  ok(opened.kind === 'opened')
  const { certificates } = opened
  await withHttp({ certificates }, async ({ http }) => {
    const first = clientFor(pairs[0].certificate)
    const second = clientFor(pairs[1].certificate)
    const ask = async (client: Deno.HttpClient) => {
      const response = await fetch(`https://localhost:${http.port}/healthz`, { client })
      return await response.text()
    }
    strictEqual(await ask(first), '{"status":"ok"}')
    await rejects(ask(second))
    write(pairs[1])
    await certificates.check()
    strictEqual(await ask(second), '{"status":"ok"}')
    const late = clientFor(pairs[0].certificate)
    await rejects(ask(late))
    for (const client of [first, second, late]) client.close()
  })
  certificates.close()
  Deno.removeSync(folder, { recursive: true })
})

const DAY_MS = 86_400_000
const makePair = () =>
  makeSelfSigned({
    names: ['localhost'],
    notBeforeMs: Date.now() - DAY_MS,
    notAfterMs: Date.now() + DAY_MS,
  })

const clientFor = (certificate: string) => Deno.createHttpClient({ caCerts: [certificate] })
