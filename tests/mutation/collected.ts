/**
 * Test files as lists of tests that can be run again and again in one process. Owns what stands in
 * for `Deno.test` while they load, and how one test is run: to its end, or to its time limit.
 */
import { pathToFileURL } from 'node:url'

type Body = (context: unknown) => unknown

export interface CollectedTest {
  /** `file#place`, the same in every process. */
  readonly key: string
  readonly title: string
  readonly body: Body
}

export type Ending =
  | { readonly kind: 'passed' }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'late' }

interface Definition {
  readonly name: string
  readonly fn: Body
  readonly ignore?: boolean
}

/** The forms of `Deno.test` and `t.step`, as one. */
function definitionOf(parts: readonly unknown[]): Definition {
  const fn = parts.findLast((part) => typeof part === 'function') as Body | undefined
  const named = parts.find((part) => typeof part === 'string') as string | undefined
  const options = parts.find((part) => typeof part === 'object') as Partial<Definition> | undefined
  const body = fn ?? options?.fn
  if (body === undefined) throw new Error('a test without a body')
  const name = named ?? options?.name ?? body.name
  return { name, fn: body, ignore: options?.ignore ?? false }
}

const context = {
  async step(...parts: readonly unknown[]): Promise<boolean> {
    const { fn, ignore } = definitionOf(parts)
    if (ignore !== true) await fn(context)
    return true
  },
}

/** The tests that a file defines while it loads. Throws what its top level throws. */
export async function collect(root: string, file: string): Promise<readonly CollectedTest[]> {
  const tests: CollectedTest[] = []
  const define = (...parts: readonly unknown[]): void => {
    const { name, fn, ignore } = definitionOf(parts)
    if (ignore !== true) tests.push({ key: `${file}#${tests.length}`, title: name, body: fn })
  }
  const real = Deno.test
  Object.defineProperty(Deno, 'test', { value: define, configurable: true, writable: true })
  try {
    await import(pathToFileURL(`${root}/${file}`).href)
  } finally {
    Object.defineProperty(Deno, 'test', { value: real, configurable: true, writable: true })
  }
  return tests
}

const words = (error: unknown): string => String(error).split('\n')[0] ?? ''

/** What a test left behind and nobody waited for. */
let stray: string | null = null
globalThis.addEventListener('unhandledrejection', (event) => {
  event.preventDefault()
  stray ??= words(event.reason)
})
globalThis.addEventListener('error', (event) => {
  event.preventDefault()
  stray ??= event.message
})

export async function runTest(test: CollectedTest, limitMs: number): Promise<Ending> {
  stray = null
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<Ending>((resolve) => {
    timer = setTimeout(() => resolve({ kind: 'late' }), limitMs)
  })
  const run = async (): Promise<Ending> => {
    try {
      await test.body(context)
    } catch (error) {
      return { kind: 'failed', why: words(error) }
    }
    return stray === null ? { kind: 'passed' } : { kind: 'failed', why: stray }
  }
  try {
    return await Promise.race([run(), late])
  } finally {
    clearTimeout(timer)
  }
}
