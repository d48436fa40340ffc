/**
 * What is mutated, and which tests are asked. Owns the areas: a file is in one of them only. Slow
 * tests that only come by, such as random histories, are not asked: what they alone would find
 * counts as not found.
 */

export interface Area {
  readonly name: string
  readonly files: readonly string[]
  /** Folders and files whose tests are asked: they run in one process, without network or disk. */
  readonly tests: readonly string[]
}

const within = (folder: string, ...names: readonly string[]): readonly string[] =>
  names.map((name) => `${folder}/${name}.ts`)

export const AREAS: readonly Area[] = [
  {
    name: 'sequencer',
    tests: ['machines'],
    files: within(
      'edge-hub/sequencer',
      ...['chain-memory', 'draft', 'group-view', 'room-queue', 'room-state', 'sequencer'],
    ),
  },
  {
    name: 'sender-keys',
    tests: ['core'],
    files: within(
      'shared/core/sender-keys',
      ...['burst-cache', 'chains', 'ephemeral', 'exports', 'merkle', 'padding'],
      ...['seal', 'sealed-frame', 'secret-tree'],
    ),
  },
  {
    name: 'validation',
    tests: ['core', 'vectors', 'fuzz/wiping.test.ts'],
    files: within(
      'shared/core/mls',
      ...['leaf-validation', 'leaf-census', 'tree-validation', 'proposal-list'],
      ...['staged-commit', 'public-process', 'commit-process', 'successor-rules'],
    ),
  },
  {
    name: 'commit-rules',
    tests: ['core', 'machines'],
    files: within(
      'shared/core/policy',
      ...['commit-rules', 'finality', 'group-info-rules', 'genesis-rules'],
      ...['vote', 'admission', 'anchor'],
    ),
  },
]

/** Percent of the mutants of an area that tests must find. */
export const SCORE_MIN = 80
