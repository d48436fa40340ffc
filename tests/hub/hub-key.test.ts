/** The hub's key: made once, sealed, and never replaced in silence. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat, toBase64Url, toHex } from '#core/base/bytes.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { openHubKey } from '#hub/adapters/hub-key.ts'

const crypto = createNobleCrypto()
const entropy = {
  randomBytes: (length: number) => globalThis.crypto.getRandomValues(new Uint8Array(length)),
}

interface Folder {
  readonly dataDir: string
  readonly keyFile: string
}

async function withFolder(test: (folder: Folder) => Promise<void>): Promise<void> {
  const parent = Deno.makeTempDirSync()
  const dataDir = `${parent}/data`
  Deno.mkdirSync(dataDir)
  try {
    await test({ dataDir, keyFile: `${parent}/data.key` })
  } finally {
    Deno.removeSync(parent, { recursive: true })
  }
}

const open = (folder: Folder) => openHubKey({ crypto, entropy, ...folder })

Deno.test('a new hub makes its key, and finds the same one again', async () => {
  await withFolder(async (folder) => {
    const made = await open(folder)
    ok(made.kind === 'opened' && made.created)
    const again = await open(folder)
    deepStrictEqual(again, { ...made, created: false })
    const content = new Uint8Array([1, 2, 3])
    const signature = await crypto.sign(
      'ed25519',
      again.kind === 'opened' ? again.secretKey : content,
      content,
    )
    ok(await crypto.verify('ed25519', { publicKey: made.publicKey, content, signature }))
  })
})

Deno.test('both files are for the owner only, and the folder alone opens nothing', async () => {
  await withFolder(async (folder) => {
    const made = await open(folder)
    ok(made.kind === 'opened')
    const files = [`${folder.dataDir}/hub-key`, folder.keyFile]
    for (const path of files) strictEqual((Deno.statSync(path).mode ?? 0) & 0o777, 0o600)
    deepStrictEqual([...Deno.readDirSync(folder.dataDir)].map(({ name }) => name), ['hub-key'])
    const stored = toHex(concat(...files.map((path) => Deno.readFileSync(path))))
    const text = Deno.readTextFileSync(folder.keyFile)
    ok(!stored.includes(toHex(made.secretKey.subarray(0, 32))))
    ok(!text.includes(toBase64Url(made.secretKey.subarray(0, 32))))
  })
})

Deno.test('a missing, wrong or malformed key file is refused and changes nothing', async () => {
  await withFolder(async (folder) => {
    const made = await open(folder)
    const text = Deno.readTextFileSync(folder.keyFile)
    Deno.removeSync(folder.keyFile)
    deepStrictEqual(await open(folder), { kind: 'refused', code: 'keyFileMissing' })
    Deno.writeTextFileSync(folder.keyFile, `${toBase64Url(new Uint8Array(32))}\n`)
    deepStrictEqual(await open(folder), { kind: 'refused', code: 'wrongKeyFile' })
    for (const malformed of ['', 'not base64url!', toBase64Url(new Uint8Array(31))]) {
      Deno.writeTextFileSync(folder.keyFile, malformed)
      deepStrictEqual(await open(folder), { kind: 'refused', code: 'keyFileMalformed' })
    }
    Deno.writeTextFileSync(folder.keyFile, text)
    deepStrictEqual(await open(folder), { ...made, created: false })
  })
})

Deno.test('a changed sealed file is refused', async () => {
  await withFolder(async (folder) => {
    await open(folder)
    const path = `${folder.dataDir}/hub-key`
    const bytes = Deno.readFileSync(path)
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice()
      changed[at] = (changed[at] ?? 0) ^ 1
      Deno.writeFileSync(path, changed)
      const opened = await open(folder)
      ok(opened.kind === 'refused' && /^(wrongKeyFile|unreadable)$/.test(opened.code), `byte ${at}`)
    }
    Deno.writeFileSync(path, bytes.subarray(1))
    deepStrictEqual(await open(folder), { kind: 'refused', code: 'unreadable' })
  })
})
