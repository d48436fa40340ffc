/** The taste of this repository, as tests over its text. Each check lives in `tidy/`. */
import { strictEqual } from 'node:assert/strict'
import {
  lockAddresses,
  looseVersions,
  machinePaths,
  narrowedTests,
  registryHosts,
  suppressions,
} from './tidy/banned.ts'
import {
  brokenImports,
  componentAmbience,
  componentImports,
  deadFiles,
  importCycles,
} from './tidy/graph.ts'
import { fileNames, missingHeaders, vagueNames } from './tidy/names.ts'
import { uncitedRules, unknownRules } from './tidy/rules.ts'
import { literalTexts, physicalStyles } from './tidy/screens.ts'
import { largeFunctions, longFiles, longLines } from './tidy/shape.ts'
import { type Check, describe, readRepository } from './tidy/source.ts'

const files = readRepository()

const checks: Readonly<Record<string, Check>> = {
  'files have at most 500 lines': longFiles,
  'lines have at most 100 columns': longLines,
  'functions have at most 70 lines and 4 parameters': largeFunctions,
  'imports form no cycle': importCycles,
  'imports name files that exist': brokenImports,
  'every file is reached from an entry point': deadFiles,
  'components follow the import table': componentImports,
  'components take time and entropy as arguments': componentAmbience,
  'names say something': vagueNames,
  'files are named in one case': fileNames,
  'files open with what they own': missingHeaders,
  'no check is switched off': suppressions,
  'no test is switched off': narrowedTests,
  'no file names a place on one machine': machinePaths,
  'no file names a registry': registryHosts,
  'the lock file has no addresses': lockAddresses,
  'versions are exact': looseVersions,
  'visible words come from the catalogues': literalTexts,
  'styles use logical directions': physicalStyles,
  'every rule of the protocol is cited by a test': uncitedRules,
  'every cited rule exists': unknownRules,
}

for (const [title, check] of Object.entries(checks)) {
  Deno.test(`tidy: ${title}`, () => strictEqual(describe(check(files)), ''))
}
