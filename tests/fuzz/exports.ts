/**
 * Members who take the exports of an epoch at once and go on without the secrets of private
 * messages. Owns that the exports are those of the others, and that what was taken is gone.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { exportSecret, takeExports } from '#core/mls/group.ts'
import { fingerprint } from './fingerprint.ts'
import { toHex } from './hex.ts'
import { count, must, oneIn, type World } from './world.ts'

const NOTHING = new Uint8Array(0)

/** In a group whose members speak in the open alone. */
export function takeSomeExports(world: World): void {
  const list = [
    { label: 'frames', context: NOTHING, length: 32 },
    { label: 'seals', context: world.entropy.randomBytes(5), length: 48 },
  ]
  for (const seat of world.seats) {
    const [other] = world.seats
    if (seat === other || other === undefined || seat.kept !== null || oneIn(world, 2)) continue
    const wanted = list.map((exporting) => exportSecret(other.group, exporting))
    const { exporterSecret, encryptionSecret, senderDataSecret } = world.present
    const { group, exports, consumed } = takeExports(seat.group, list)
    const same = exports.every((each, index) => equalBytes(each, wanted[index] ?? NOTHING))
    must(same, `${seat.person.name} takes other exports`)
    for (const secret of consumed) secret.fill(0)
    const all = fingerprint(group)
    for (const secret of [exporterSecret, encryptionSecret, senderDataSecret]) {
      must(!all.includes(toHex(secret)), `${seat.person.name} still holds what it has taken`)
    }
    seat.group = group
    count(world, 'exports taken')
  }
}
