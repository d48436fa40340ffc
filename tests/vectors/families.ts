/**
 * Runs families of published MLS vectors (RFC 9420): every case of every file that is there, in its
 * registered suite. Owns the counting and what is printed; what a case must fulfil is the caller's.
 */
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { readVectors, vectorFiles } from './published.ts'
import { registeredSuite } from './suites.ts'

/** What a body returns for a case that it cannot run; it is counted and printed with its reason. */
export interface LeftOut {
  readonly kind: 'leftOut'
  readonly reason: string
}

/** Nothing for a case that holds; a case that does not hold throws. */
type Verdict = Promise<LeftOut | void> | LeftOut | void

/**
 * A family whose cases name a cipher suite. `pattern` is a file name under `mls/`, in which `*`
 * stands for any characters.
 */
export function familyTest<T extends { readonly cipher_suite: number }>(
  name: string,
  pattern: string,
  body: (vector: T, suite: CipherSuite) => Verdict,
): void {
  plainFamilyTest<T>(name, pattern, (vector) => {
    const suite = registeredSuite(vector.cipher_suite)
    if (suite !== null) return body(vector, suite)
    return { kind: 'leftOut', reason: `suite ${vector.cipher_suite}` }
  })
}

/** A family of MLS whose cases name no suite. */
export function plainFamilyTest<T>(
  name: string,
  pattern: string,
  body: (vector: T) => Verdict,
): void {
  everyCase<T>(`RFC 9420 vectors: ${name}`, { folder: 'mls', pattern }, body)
}

/** Every case of the files of any folder of vectors. */
export function everyCase<T>(
  name: string,
  { folder, pattern }: { readonly folder: string; readonly pattern: string },
  body: (vector: T) => Verdict,
): void {
  const files = vectorFiles(folder, pattern)
  if (files.length === 0) console.log(`skipped: ${name} (no vectors at ${folder}/${pattern})`)
  Deno.test({
    name,
    ignore: files.length === 0,
    async fn(context) {
      for (const file of files) {
        await context.step(file, () => runFile(file, body))
      }
    },
  })
}

async function runFile<T>(file: string, body: (vector: T) => Verdict): Promise<void> {
  const vectors = await readVectors<T[]>(file)
  const leftOut = new Map<string, number>()
  const failures: { readonly index: number; readonly cause: unknown }[] = []
  let held = 0
  for (const [index, vector] of vectors.entries()) {
    try {
      const verdict = await body(vector)
      if (verdict === undefined) held++
      else leftOut.set(verdict.reason, (leftOut.get(verdict.reason) ?? 0) + 1)
    } catch (cause) {
      failures.push({ index, cause })
    }
  }
  const reasons = [...leftOut].map(([reason, count]) => `, ${count} left out (${reason})`).join('')
  console.log(`${file}: ${held + failures.length} of ${vectors.length} cases run${reasons}`)
  if (held + failures.length === 0) throw new Error(`${file}: no case was run`)
  const [first] = failures
  if (first === undefined) return
  const which = failures.map(({ index }) => index).join(', ')
  throw new Error(`${file}: ${failures.length} cases do not hold: ${which}`, {
    cause: first.cause,
  })
}
