/**
 * The files of an area as the compiler sees them: the program that mutants are made from, and
 * whether the compiler would refuse a mutant. A refused one could never be committed, so no test
 * need find it.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'
import type { Mutant } from './mutants.ts'
import { withMutant } from './schema.ts'

/** Types only: an unused name or unreachable code is no error of types. */
function optionsOf(root: string): ts.CompilerOptions {
  const { config } = ts.readConfigFile(path.join(root, 'tsconfig.base.json'), ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root)
  return { ...options, lib: ['lib.es2024.d.ts'], types: [], allowUnreachableCode: true }
}

export class Compiler {
  readonly #root: string
  readonly #texts = new Map<string, string>()
  readonly #versions = new Map<string, number>()
  readonly #service: ts.LanguageService

  constructor(root: string, files: readonly string[]) {
    this.#root = root
    const paths = files.map((file) => path.join(root, file))
    for (const each of paths) this.#texts.set(each, readFileSync(each, 'utf8'))
    const options = optionsOf(root)
    const textOf = (name: string) => this.#texts.get(name) ?? ts.sys.readFile(name)
    this.#service = ts.createLanguageService({
      getCompilationSettings: () => options,
      getScriptFileNames: () => paths,
      getScriptVersion: (name) => String(this.#versions.get(name) ?? 0),
      getScriptSnapshot: (name) => {
        const text = textOf(name)
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text)
      },
      getCurrentDirectory: () => root,
      getDefaultLibFileName: (each) => ts.getDefaultLibFilePath(each),
      fileExists: ts.sys.fileExists,
      readFile: ts.sys.readFile,
      readDirectory: ts.sys.readDirectory,
      directoryExists: ts.sys.directoryExists,
      getDirectories: ts.sys.getDirectories,
    })
  }

  get program(): ts.Program {
    return this.#service.getProgram() as ts.Program
  }

  /** Errors of types in a file as it is. */
  errors(file: string): readonly string[] {
    return this.#service.getSemanticDiagnostics(path.join(this.#root, file)).map(
      ({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '),
    )
  }

  /** Whether the compiler takes the file with the mutant in it. */
  accepts(mutant: Mutant): boolean {
    const name = path.join(this.#root, mutant.file)
    const text = this.#texts.get(name) as string
    this.#put(name, withMutant(text, mutant))
    const isRight = this.#service.getSyntacticDiagnostics(name).length === 0 &&
      this.#service.getSemanticDiagnostics(name).length === 0
    this.#put(name, text)
    return isRight
  }

  #put(name: string, text: string): void {
    this.#texts.set(name, text)
    this.#versions.set(name, (this.#versions.get(name) ?? 0) + 1)
  }
}
