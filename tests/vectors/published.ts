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
    fn: async () => await body(await readVectors<T>(file)),
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

/**
 * Paths, relative to the vectors, of the files of a folder whose name matches `pattern`, in which
 * `*` stands for any characters. None where the folder is absent.
 */
export function vectorFiles(name: string, pattern: string): readonly string[] {
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
  const matching = new RegExp(`^${parts.join('.*')}$`)
  try {
    return [...Deno.readDirSync(`${folder}/${name}`)]
      .filter((entry) => entry.isFile && matching.test(entry.name))
      .map((entry) => `${name}/${entry.name}`).sort()
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return []
    throw error
  }
}

/** The parsed JSON of a file of vectors; `file` is relative to the folder of all vectors. */
export async function readVectors<T>(file: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(`${folder}/${file}`)) as T
}
