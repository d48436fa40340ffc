/**
 * Texts: how one is written, and which text a person reads in a content. Owns the choice among
 * parts; owns no rendering, and shows Markdown as the plain text that it also is.
 */
import { unreachable } from '#core/base/assert.ts'
import { utf8Decode, utf8Encode } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import { compose, type ContentOptions } from '#core/content/compose.ts'
import {
  DISPOSITIONS,
  type MimiContent,
  type MultiPart,
  type NestedPart,
} from '#core/content/mimi-structure.ts'

const PLAIN_TEXT = 'text/plain;charset=utf-8'
/** Both must be readable to everyone, Markdown also as plain text. */
const READABLE_TYPES: ReadonlySet<string> = new Set(['text/plain', 'text/markdown'])
const READABLE_CHARSETS: ReadonlySet<string> = new Set(['utf-8', 'us-ascii'])

/** Parts with these are something else than the text of a message. */
const UNREAD_DISPOSITIONS: ReadonlySet<number> = new Set([
  DISPOSITIONS.reaction,
  DISPOSITIONS.profile,
  DISPOSITIONS.icon,
  DISPOSITIONS.attachment,
  DISPOSITIONS.session,
  DISPOSITIONS.preview,
])

/** A message of plain text. `text` may be empty; unpaired surrogates become U+FFFD. */
export function textContent(
  options: ContentOptions & {
    readonly text: string
    /** Language tags (RFC 5646), or none. */
    readonly language?: string
  },
): MimiContent {
  return compose(options, {
    kind: 'singlePart',
    disposition: DISPOSITIONS.render,
    language: options.language ?? '',
    contentType: PLAIN_TEXT,
    content: utf8Encode(options.text),
  })
}

/**
 * The text that a person reads, or null where there is none: reactions, profiles, attachments,
 * deletions, and types that are no text. Of several choices the first that is text; of several
 * parts those that are, a line each; of a unit all, or nothing.
 */
export function plainText(content: MimiContent): string | null {
  return textOfPart(content.nestedPart)
}

/** The beginning of the text, of at most `previewMax` UTF-16 units and without half a character. */
export function previewText(content: MimiContent): string {
  const text = plainText(content) ?? ''
  return text.length <= LIMITS.previewMax
    ? text
    : text.slice(0, LIMITS.previewMax).replace(/[\ud800-\udbff]$/, '')
}

function textOfPart(part: NestedPart): string | null {
  if (UNREAD_DISPOSITIONS.has(part.disposition)) return null
  switch (part.kind) {
    case 'nullPart':
    case 'externalPart':
      return null
    case 'singlePart':
      return isReadable(part.contentType) ? utf8Decode(part.content) : null
    case 'multiPart':
      return textOfParts(part)
    default:
      return unreachable(part)
  }
}

function textOfParts({ parts, partSemantics }: MultiPart): string | null {
  const texts = parts.map(textOfPart).filter((text) => text !== null)
  switch (partSemantics) {
    case 'chooseOne':
      return texts[0] ?? null
    case 'singleUnit':
      return texts.length === parts.length ? texts.join('\n') : null
    case 'processAll':
      return texts.length > 0 ? texts.join('\n') : null
    default:
      return unreachable(partSemantics)
  }
}

/** True for text in UTF-8, by type and charset; types and parameters ignore case (RFC 2045). */
function isReadable(contentType: string): boolean {
  const [type, ...parameters] = contentType.toLowerCase().split(';').map((each) => each.trim())
  if (type === undefined || !READABLE_TYPES.has(type)) return false
  const charset = parameters.find((each) => each.startsWith('charset='))?.slice('charset='.length)
  return charset === undefined || READABLE_CHARSETS.has(charset.replaceAll('"', ''))
}
