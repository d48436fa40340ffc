/**
 * A process for tests of the whole app: Mallory comes into a room by a link and says one content in
 * two frames, with another between and one behind. Owns that; the arguments are the origin of the
 * hub and the link's fragment.
 */
import { sayContent, textOf } from './hostile-speech.ts'
import { comeByLink } from './real-stranger.ts'

const [endpoint = '', fragment = ''] = Deno.args
const { device, room } = await comeByLink({ endpoint, name: 'mallory' }, fragment)
const twice = textOf(device, room, 'said twice')
const between = textOf(device, room, 'said between')
for (const content of [twice, between, twice, textOf(device, room, 'said at last')]) {
  await sayContent(device, room, content)
}
device.hangUp()
await device.closed
