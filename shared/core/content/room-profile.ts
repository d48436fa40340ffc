/**
 * The profile of a room as content of our own: its title, which only members may know. Owns the
 * media type and its layout, a CBOR map from small integers; owns no rule for titles.
 */
import { assert } from '#core/base/assert.ts'
import { LIMITS } from '#core/base/limits.ts'
import { asMap, decodeCbor, encodeCbor } from '#core/content/cbor.ts'
import { compose, type ContentOptions } from '#core/content/compose.ts'
import { DISPOSITIONS, type MimiContent } from '#core/content/mimi-structure.ts'

const ROOM_PROFILE = 'application/vnd.kalandra.room-profile+cbor'
const KEYS = { title: 1 } as const
const CBOR_BOUNDS = { depthMax: LIMITS.contentDepthMax, itemsMax: LIMITS.contentItemsMax }

export interface RoomProfile {
  /** At most `LIMITS.titleMax` UTF-16 code units. */
  readonly title: string
}

/** Tells the members the title of the room (ROOM-11). */
export function roomProfileContent(options: ContentOptions & RoomProfile): MimiContent {
  const { title } = options
  assert(title.length <= LIMITS.titleMax, 'a title is in bounds')
  return compose(options, {
    kind: 'singlePart',
    disposition: DISPOSITIONS.profile,
    language: '',
    contentType: ROOM_PROFILE,
    content: encodeCbor({ kind: 'map', entries: [[KEYS.title, title]] }),
  })
}

/** The profile that a content tells, whatever else it says; null for any other content. */
export function roomProfile({ nestedPart }: MimiContent): RoomProfile | null {
  if (nestedPart.kind !== 'singlePart' || nestedPart.contentType !== ROOM_PROFILE) return null
  const decoded = decodeCbor(nestedPart.content, CBOR_BOUNDS)
  const map = decoded.kind === 'decoded' ? asMap(decoded.value) : null
  const title = map?.entries.find(([key]) => key === KEYS.title)?.[1]
  return typeof title === 'string' && title.length <= LIMITS.titleMax ? { title } : null
}
