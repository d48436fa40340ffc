/**
 * Reads published test vectors. They stay outside of the repository: beside it in `shared/vectors`,
 * or where KALANDRA_VECTORS says. Where they are absent a test says so and counts as skipped.
 */
import { fromHex } from '#core/base/bytes.ts'

const folder = Deno.env.get('KALANDRA_VECTORS') ??
  new URL('../../../shared/vectors', import.meta.url).pathname

/** Runs `body` with the parsed JSON of one file of vectors. */
export function vectorTest<T>(
  name: string,
  file: string,
  body: (vectors: T) => Promise<void> | void,
): void {
  const path = `${folder}/${file}`
  const present = exists(path)
  if (!present) console.log(`skipped: ${name} (no vectors at ${path})`)
  Deno.test({
    name,
    ignore: !present,
    fn: async () => await body(JSON.parse(await Deno.readTextFile(path)) as T),
  })
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false
    throw error
  }
}

/** Bytes of a hex string that the vectors promise to be one. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text)
  if (bytes === null) throw new Error('a vector is not hex')
  return bytes
}

/** The path of a folder of vectors; null, and printed as skipped, where it is absent. */
export function vectorFolder(name: string): string | null {
  const path = `${folder}/${name}`
  try {
    if (Deno.statSync(path).isDirectory) return path
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error
  }
  console.log(`skipped: ${name} (no vectors at ${path})`)
  return null
}
