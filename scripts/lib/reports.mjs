/** Reads what the test runners report in files. Owns counting; a crash counts as a failure. */
import { existsSync, readFileSync } from 'node:fs'

/** A runner that ended badly without a failed test, or left no report, failed itself. */
const withEnd = (counts, code, name) => {
  const crashed = code !== 0 && counts.failed === 0
  if (crashed) console.log(`${name} ended with code ${code}`)
  return crashed ? { ...counts, failed: 1 } : counts
}

const nothing = { passed: 0, failed: 0, skipped: 0 }

/** Counts the cases of a JUnit file. */
export function readJunit(file, code) {
  if (!existsSync(file)) return withEnd(nothing, code || 1, 'The test runner')
  const text = readFileSync(file, 'utf8')
  const counts = { ...nothing }
  for (
    const [, body = ''] of text.matchAll(/<testcase\b(?:[^>]*\/>|[^>]*>([\s\S]*?)<\/testcase>)/g)
  ) {
    if (/<(failure|error)\b/.test(body)) counts.failed += 1
    else if (/<skipped\b/.test(body)) counts.skipped += 1
    else counts.passed += 1
  }
  return withEnd(counts, code, 'The test runner')
}

/** Counts the tests of Playwright's JSON report. */
export function readPlaywright(file, code) {
  if (!existsSync(file)) return withEnd(nothing, code || 1, 'The browser tests')
  const { stats } = JSON.parse(readFileSync(file, 'utf8'))
  const counts = {
    passed: stats.expected,
    failed: stats.unexpected + stats.flaky,
    skipped: stats.skipped,
  }
  return withEnd(counts, code, 'The browser tests')
}

export const add = (left, right) => ({
  passed: left.passed + right.passed,
  failed: left.failed + right.failed,
  skipped: left.skipped + (right.skipped ?? 0),
})

export const summary = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
