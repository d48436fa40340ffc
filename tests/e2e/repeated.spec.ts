/** A member whose client says one message in two frames, in a browser that must show the room. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { deno, inRoot } from '../../scripts/lib/project.mjs'
import { expect, test } from './support/app.ts'

const said = ['said twice', 'said between', 'said at last']

test('CONTENT-4: a message said twice stands once, and all goes on', async ({ people, hub }) => {
  const [alice] = await people('alice')
  const faults: string[] = []
  alice.tab.page.on('pageerror', (error) => faults.push(String(error)))
  await alice.createsRoom('Harvest')
  const { hash } = new URL(await alice.invites())
  const speaker = inRoot('tests/support/hostile-speaker.ts')
  const endpoint = `http://localhost:${hub.port}`
  const command = ['run', '--quiet', '--no-check', '--cached-only', '--allow-all', speaker]
  await promisify(execFile)(deno(), [...command, endpoint, hash.slice(1)])
  await alice.sees('said at last')
  expect(await alice.tab.texts()).toEqual(said)
  await alice.tab.page.reload()
  await alice.sees('said at last')
  expect(await alice.tab.texts()).toEqual(said)
  await alice.says('And I say this')
  await alice.sees('And I say this', alice)
  expect(faults).toEqual([])
})
