/**
 * What a member by hand says in well-formed content, true or false. Owns the contents; sealing and
 * giving them to the hub is `hand-device.ts`.
 */
import { toBase64Url } from '#core/base/bytes.ts'
import { encodeContent, roomProfileContent, textContent } from '#core/content/mimi-content.ts'
import { accountUri } from '#core/device/outbox.ts'
import type { HandDevice, HandRoom } from './hand-device.ts'

/** What is wrong with a content. */
export const FALSE_CONTENTS = ['sender', 'room', 'title'] as const
export type FalseContent = typeof FALSE_CONTENTS[number]
/** What a content says that nobody may be shown. */
export const FALSE_TEXT = 'not said by whom it names, or not where it stands'
/** A title that its creator did not give. */
export const FALSE_TITLE = 'A room of nobody'

/** Whom a content names: its sender and the room that it was said in (CONTENT-2). */
function truth({ parts, self }: HandDevice, { id }: HandRoom) {
  return {
    salt: parts.entropy.randomBytes(16),
    senderUri: accountUri(self.account),
    roomUri: `mimi://${parts.domain}/r/${toBase64Url(id)}`,
  }
}

/** A text of its own; each time another content. */
export function textOf(device: HandDevice, room: HandRoom, text: string): Uint8Array {
  return encodeContent(textContent({ ...truth(device, room), text }))
}

/**
 * In another's name, out of another room of the hub, or a title for the room: no other member may
 * be spoken for, but everybody may name the room.
 */
export function falseContent(device: HandDevice, room: HandRoom, what: FalseContent): Uint8Array {
  const { domain, entropy } = device.parts
  const of = truth(device, room)
  const text = FALSE_TEXT
  switch (what) {
    case 'sender':
      return encodeContent(textContent({ ...of, senderUri: `mimi://${domain}/u/alice`, text }))
    case 'room': {
      const roomUri = `mimi://${domain}/r/${toBase64Url(entropy.randomBytes(32))}`
      return encodeContent(textContent({ ...of, roomUri, text }))
    }
    case 'title':
      return encodeContent(roomProfileContent({ ...of, title: FALSE_TITLE }))
  }
}

/** Seals a content anew and gives it to the hub: the same one may be said in many frames. */
export async function sayContent(
  device: HandDevice,
  room: HandRoom,
  plaintext: Uint8Array,
): Promise<bigint> {
  const frame = await device.sealContent(room, plaintext)
  const position = await device.position(device.submit(room, frame))
  await device.follow(room, position + 1n)
  return position
}
