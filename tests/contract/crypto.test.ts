/** Runs the contract of the `Crypto` port on both implementations, and checks what they rest on. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { detectEngine, ENGINE_OPERATIONS } from '#native/webcrypto.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { cryptoContract } from './crypto.ts'

const noble = createNobleCrypto()
const webCrypto = await createWebCrypto(crypto.subtle, noble)

for (const { name, run } of cryptoContract(noble, noble)) Deno.test(`noble: ${name}`, run)
for (const { name, run } of cryptoContract(webCrypto, noble)) Deno.test(`WebCrypto: ${name}`, run)

/** An engine that answers every call by `answer`. */
function engine(answer: () => unknown): SubtleCrypto {
  return new Proxy({}, { get: () => answer }) as SubtleCrypto
}

Deno.test('every operation of this engine gives its known answer', async () => {
  const operations = await detectEngine(crypto.subtle, noble)
  deepStrictEqual([...operations].sort(), [...ENGINE_OPERATIONS].sort())
})

const useless: readonly (readonly [string, () => unknown])[] = [
  ['throws', () => {
    throw new SyntaxError('unknown')
  }],
  ['rejects', () => Promise.reject(new DOMException('unknown', 'NotSupportedError'))],
  ['rejects with nothing', () => Promise.reject(undefined)],
  ['says yes to everything', () => Promise.resolve(true)],
  ['gives zeros', () => Promise.resolve(new ArrayBuffer(32))],
  ['does not have the method', () => undefined],
]
for (const [what, answer] of useless) {
  Deno.test(`an engine that ${what} is not used, and the port works without it`, async () => {
    const subtle = engine(answer)
    strictEqual((await detectEngine(subtle, noble)).size, 0)
    const port = await createWebCrypto(subtle, noble)
    const { secretKey, publicKey } = port.signatureKeyPair('ed25519', new Uint8Array(32))
    const content = new Uint8Array(5)
    const signature = await port.sign('ed25519', secretKey, content)
    ok(await port.verify('ed25519', { publicKey, content, signature }))
  })
}

Deno.test('an engine that fails later is no verdict: the other one decides', async () => {
  let broken = false
  const subtle = new Proxy(crypto.subtle, {
    get(target, name) {
      if (broken) return () => Promise.reject(new DOMException('out of keys', 'OperationError'))
      const method = Reflect.get(target, name)
      return typeof method === 'function' ? method.bind(target) : method
    },
  })
  const port = await createWebCrypto(subtle, noble)
  const cases = cryptoContract(port, noble)
  for (const { run } of cases) await run()
  broken = true
  for (const { run } of cases) await run()
})

Deno.test('more public keys than the cache holds still verify', async () => {
  const content = new Uint8Array(3)
  const secretKey = new Uint8Array(32).fill(1)
  const { publicKey } = noble.signatureKeyPair('ed25519', secretKey)
  const signature = await webCrypto.sign('ed25519', secretKey, content)
  const signed = { publicKey, content, signature }
  ok(await webCrypto.verify('ed25519', signed))
  for (let i = 0; i < 1_100; i++) {
    const other = publicKey.slice()
    other[0] = i & 255
    other[1] = i >> 8
    strictEqual(await webCrypto.verify('ed25519', { ...signed, publicKey: other }), false)
  }
  ok(await webCrypto.verify('ed25519', signed))
})
