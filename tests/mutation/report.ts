/**
 * What came of a run: scores, survivors, and which of them nobody has given a reason for. Owns the
 * form of `survivors.json`.
 */
import { SCORE_MIN } from './areas.ts'
import type { Mutant } from './mutants.ts'
import type { Judged } from './trial.ts'

/** A survivor that is known, by its place in the code and not by its line. */
export interface KnownSurvivor {
  readonly file: string
  readonly inside: string
  readonly change: string
  readonly reason: string
}

export interface AreaResult {
  readonly area: string
  readonly judged: readonly Judged[]
  /** Mutants that the compiler refuses; they count nowhere. */
  readonly invalid: number
}

/** No test found it. */
export const isSurvivor = ({ verdict }: Judged): boolean =>
  verdict === 'survived' || verdict === 'unreached'

/** The same while its line moves. */
export const keyOf = (place: Omit<KnownSurvivor, 'reason'>): string =>
  [place.file, place.inside, place.change].join('\n')

export interface Survivor {
  readonly judged: Judged
  /** Null: nobody has given one. */
  readonly reason: string | null
}

export function survivorsOf(
  { judged }: AreaResult,
  known: readonly KnownSurvivor[],
): readonly Survivor[] {
  const reasons = new Map(known.map((each) => [keyOf(each), each.reason]))
  return judged.filter(isSurvivor).map((each) => ({
    judged: each,
    reason: reasons.get(keyOf(each.mutant)) ?? null,
  }))
}

/** Known survivors that tests find by now, or whose code is gone. */
export function outdated(
  results: readonly AreaResult[],
  known: readonly KnownSurvivor[],
): readonly KnownSurvivor[] {
  const judged = results.flatMap((result) => result.judged)
  const files = new Set(judged.map(({ mutant }) => mutant.file))
  const alive = new Set(judged.filter(isSurvivor).map(({ mutant }) => keyOf(mutant)))
  return known.filter((each) => files.has(each.file) && !alive.has(keyOf(each)))
}

const count = (judged: readonly Judged[], verdict: Judged['verdict']): number =>
  judged.filter((each) => each.verdict === verdict).length

/** Percent of the valid mutants that a test found; 100 where there are none. */
export function scoreOf({ judged }: AreaResult): number {
  const found = judged.filter((each) => !isSurvivor(each)).length
  return judged.length === 0 ? 100 : 100 * found / judged.length
}

export function lineOf(result: AreaResult): string {
  const { area, judged, invalid } = result
  const survived = judged.filter(isSurvivor).length
  return [
    `${area}: ${judged.length} mutants`,
    `${count(judged, 'killed')} killed`,
    `${count(judged, 'timedOut')} timed out`,
    `${survived} survived (${count(judged, 'unreached')} met by no test)`,
    `score ${scoreOf(result).toFixed(1)} %`,
    `${invalid} more refused by the compiler`,
  ].join(', ')
}

export const placeOf = ({ file, line, inside, change }: Mutant): string =>
  `${file}:${line} ${inside}: ${change}`

export const survivorLine = ({ judged: { mutant, verdict }, reason }: Survivor): string =>
  `  ${placeOf(mutant)}\n    ` +
  `${verdict === 'unreached' ? 'met by no test; ' : ''}${reason ?? 'NO REASON GIVEN'}`

/** What makes a run fail. */
export function faultsOf(
  results: readonly AreaResult[],
  known: readonly KnownSurvivor[],
): readonly string[] {
  return results.flatMap((result) => {
    const open = survivorsOf(result, known).filter(({ reason }) => reason === null).length
    const faults = open === 0 ? [] : [`${result.area}: ${open} survivors without a reason`]
    const isLow = scoreOf(result) < SCORE_MIN
    return isLow ? [...faults, `${result.area}: the score is below ${SCORE_MIN} %`] : faults
  })
}
