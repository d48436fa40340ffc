/**
 * Splits a message into text and https addresses. Pure; anything else stays text.
 */

export interface TextPart {
  readonly kind: 'text' | 'link'
  readonly text: string
}

const address = /https:\/\/[^\s<>"']+/g
const closing = /[.,;:!?)\]}]+$/

/** Parts that join to `text` again. */
export function linkedText(text: string): TextPart[] {
  const parts: TextPart[] = []
  let done = 0
  for (const match of text.matchAll(address)) {
    const link = match[0].replace(closing, '')
    if (!URL.canParse(link)) continue
    if (match.index > done) parts.push({ kind: 'text', text: text.slice(done, match.index) })
    parts.push({ kind: 'link', text: link })
    done = match.index + link.length
  }
  if (done < text.length) parts.push({ kind: 'text', text: text.slice(done) })
  return parts
}
