/** The message catalogues: each language says everything, with the same parameters. */
import { deepEqual, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const read = (locale: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`../../web/messages/${locale}.json`, import.meta.url), 'utf8'))

const { locales } = JSON.parse(
  readFileSync(new URL('../../web/project.inlang/settings.json', import.meta.url), 'utf8'),
) as { locales: string[] }

const parameters = (message: unknown): string[] =>
  [...new Set(JSON.stringify(message).match(/\{[a-z]+\}/gi) ?? [])].sort()

for (const locale of locales) {
  Deno.test(`catalogue ${locale} has every message, none of them empty`, () => {
    const [base, own] = [read('en'), read(locale)]
    deepEqual(Object.keys(own).sort(), Object.keys(base).sort())
    for (const [key, message] of Object.entries(own)) ok(message !== '', key)
  })

  Deno.test(`catalogue ${locale} has the parameters of the base`, () => {
    const [base, own] = [read('en'), read(locale)]
    for (const key of Object.keys(base)) deepEqual(parameters(own[key]), parameters(base[key]), key)
  })
}
