/**
 * That the table of `shared/core/mls/README.md` is true: each rule has the test that it names, each
 * test its row, and each function that is said to check stands in its file. And that the example
 * of that page runs. Owns none of the rules.
 */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { EMPTY, utf8Encode } from '#core/base/bytes.ts'
import { makeCommit } from '#core/mls/commit-make.ts'
import { createGroup, exportSecret } from '#core/mls/group.ts'
import { joinByWelcome } from '#core/mls/join-welcome.ts'
import { processMessage, protectApplication } from '#core/mls/messages.ts'
import { makeKeyPackage } from '#core/mls/own-leaf.ts'
import { createStory, noPsks as psks, NOW as timeMs, partyOf, suite } from './mls-parties.ts'

const root = new URL('../../', import.meta.url)
const textOf = (path: string) => readFileSync(new URL(path, root), 'utf8')
const page = textOf('shared/core/mls/README.md')

interface Row {
  readonly file: string
  readonly title: string
  readonly checkedBy: string
}

function rowsOf(text: string): readonly Row[] {
  const rows: Row[] = []
  let file = ''
  for (const line of text.split('\n')) {
    file = /^Tests: `(.+)`$/.exec(line)?.[1] ?? file
    const [, title, checkedBy] = /^\| (\d[^|]*) \| ([^|]*) \|$/.exec(line) ?? []
    if (title !== undefined && checkedBy !== undefined) rows.push({ file, title, checkedBy })
  }
  return rows
}

/** Titles that stand as they are, without those that a loop makes. */
function titlesOf(file: string): readonly string[] {
  return [...textOf(file).matchAll(/^Deno\.test\('([^']*)'/gm)].map(([, title]) => title as string)
}

Deno.test('each rule in the table of the engine has its test, and each test its row', () => {
  const rows = rowsOf(page)
  ok(rows.length > 100, `${rows.length} rows`)
  const files = readdirSync(new URL('tests/core/', root))
    .filter((name) => /^mls-rules-.*\.test\.ts$/.test(name) && name !== 'mls-rules-table.test.ts')
    .map((name) => `tests/core/${name}`)
  for (const file of files) {
    const named = rows.filter((row) => row.file === file).map(({ title }) => title)
    deepStrictEqual(named.toSorted(), titlesOf(file).toSorted(), file)
  }
  deepStrictEqual([...new Set(rows.map(({ file }) => file))].toSorted(), files.toSorted())
})

Deno.test('what is said to check a rule stands in the engine', () => {
  let functions = 0
  for (const { title, checkedBy } of rowsOf(page)) {
    for (const [, file, names] of checkedBy.matchAll(/`([a-z-]+\.ts)`([^`:]*)/g)) {
      const path = `shared/core/mls/${file}`
      ok(existsSync(new URL(path, root)), `${title}: ${path}`)
      const source = textOf(path)
      for (const name of (names ?? '').split(',').map((each) => each.trim()).filter(Boolean)) {
        const declared = new RegExp(`(function|const|interface|class) ${name}\\b`)
        ok(declared.test(source), `${title}: ${name}`)
        functions++
      }
    }
  }
  ok(functions > 100, `${functions} functions`)
})

Deno.test('the example of the engine runs', async () => {
  const { entropy } = createStory(230)
  const [alice, bob] = [partyOf(createStory(231), 'alice'), partyOf(createStory(232), 'bob')]
  const groupId = utf8Encode('a group')
  // <example>
  const { keyPackage, secrets } = await makeKeyPackage(suite, { ...bob, entropy })
  const group = await createGroup(suite, { ...alice, groupId, extensions: [], entropy })
  const made = await makeCommit(group, {
    proposals: [{ kind: 'add', keyPackage }],
    path: 'always',
    authenticatedData: EMPTY,
    wireFormat: 'publicMessage',
    welcome: { ratchetTree: true, externalPub: false },
    psks,
    timeMs,
    entropy,
  })
  ok(made.kind === 'committed' && made.welcome !== null) // else made.code
  const { signatureSecret } = bob
  const joining = { welcome: made.welcome, keyPackage, secrets, signatureSecret, psks }
  const joined = await joinByWelcome(suite, { ...joining, ratchetTree: null })
  ok(joined.kind === 'joined')

  const greeting = await protectApplication(made.next, utf8Encode('Hello'), {
    authenticatedData: EMPTY,
    entropy,
  })
  ok(greeting.kind === 'sent') // greeting.group is Alice's next state
  const taken = await processMessage(joined.group, greeting.message, { timeMs, psks })
  ok(taken.kind === 'application') // taken.group is Bob's
  // </example>
  deepStrictEqual(taken.content, utf8Encode('Hello'))
  const exporting = { label: 'same', context: EMPTY, length: 32 }
  deepStrictEqual(exportSecret(taken.group, exporting), exportSecret(greeting.group, exporting))
})

Deno.test('the example on the page of the engine is the one that runs', () => {
  const own = textOf('tests/core/mls-rules-table.test.ts')
  const between = /\n {2}\/\/ <example>\n([\s\S]*?) {2}\/\/ <\/example>/.exec(own)?.[1]
  const shown = /```ts\n([\s\S]*?)```/.exec(page)?.[1]
  strictEqual(shown, between?.replaceAll(/^ {2}/gm, ''))
})
