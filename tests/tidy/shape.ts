/** Sizes of files, functions, parameter lists and lines. Owns the four limits. */
import { type Finding, isCode, isScript, type SourceText } from './source.ts'
import { functionsOf } from './syntax.ts'

const fileLinesMax = 500
const functionLinesMax = 70
const parametersMax = 4
const columnsMax = 100

const counted = (files: readonly SourceText[]): readonly SourceText[] => files.filter(isCode)

export function longFiles(files: readonly SourceText[]): readonly Finding[] {
  return counted(files).flatMap(({ path, text }) => {
    const lines = text.replace(/\n$/, '').split('\n').length
    return lines > fileLinesMax ? [{ path, line: 0, message: `the file has ${lines} lines` }] : []
  })
}

export function longLines(files: readonly SourceText[]): readonly Finding[] {
  return counted(files).flatMap(({ path, text }) =>
    text.split('\n').flatMap((content, index) =>
      [...content].length > columnsMax && !/^\s*(\/\/|\*|['"`]|d=")?\S+$/.test(content)
        ? [{ path, line: index + 1, message: `the line has ${[...content].length} columns` }]
        : []
    )
  )
}

export function largeFunctions(files: readonly SourceText[]): readonly Finding[] {
  return files.filter(isScript).flatMap((file) =>
    functionsOf(file).flatMap(({ name, line, lines, parameters }) => {
      const found: Finding[] = []
      const add = (message: string): number => found.push({ path: file.path, line, message })
      if (lines > functionLinesMax) add(`${name} has ${lines} lines`)
      if (parameters > parametersMax) add(`${name} has ${parameters} parameters`)
      return found
    })
  )
}
