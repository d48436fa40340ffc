/** Addresses in messages: only https becomes a link, and no character is lost. */
import { deepEqual, equal } from 'node:assert/strict'
import { linkedText } from '../../web/src/components/linked-text.ts'

const links = (text: string): string[] =>
  linkedText(text).filter((part) => part.kind === 'link').map((part) => part.text)

Deno.test('https addresses are found without the punctuation after them', () => {
  deepEqual(links('See https://a.example/x?y=1#z, and (https://b.example).'), [
    'https://a.example/x?y=1#z',
    'https://b.example',
  ])
})

Deno.test('nothing but https is a link', () => {
  deepEqual(links('http://a.example javascript:alert(1) data:text/html,x //b.example https://'), [])
})

Deno.test('the parts join to the text again', () => {
  for (
    const text of ['', 'plain', 'https://a.example', '<b>https://a.example/<i></b>', 'a\n b  ']
  ) {
    equal(linkedText(text).map((part) => part.text).join(''), text)
  }
})
