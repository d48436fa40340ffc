/**
 * Copies of the built app that a test may change: another version of it, or one whose engine tells
 * what it writes and reads. Owns the copies; the build in `dist/` is never touched.
 */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { inRoot } from '../../../scripts/lib/project.mjs'
import { buildServiceWorker } from '../../../web/vite/service-worker-plugin.ts'

export interface AppCopy {
  readonly directory: string
  /** Publishes a version that says its name in `<meta name="version">`. */
  publish(version: string): Promise<void>
  remove(): Promise<void>
}

/** Copies the app as it was built. */
export async function copyApp(): Promise<AppCopy> {
  const directory = await mkdtemp(path.join(tmpdir(), 'kalandra-app-'))
  await cp(inRoot('dist'), directory, { recursive: true })
  const page = path.join(directory, 'index.html')
  const original = await readFile(page, 'utf8')
  return {
    directory,
    async publish(version) {
      const meta = `<meta name="version" content="${version}" />`
      await writeFile(page, original.replace('<title>', `${meta}<title>`))
      await buildServiceWorker({ outDir: directory })
    },
    remove: () => rm(directory, { recursive: true }),
  }
}

/** Where the engine of an observed app reports, a `BroadcastChannel`. */
export const OBSERVED = 'observed'

/** A report: a frame passed as a datagram, so without a length before it. */
export interface ObservedDatagram {
  readonly way: 'in' | 'out'
  readonly opcode: number
}

/**
 * Copies the app and lets its engine report each datagram: a frame that begins with its version, 1.
 * On a stream it stands behind a length whose first byte is 0.
 */
export async function copyObservedApp(): Promise<AppCopy> {
  const copy = await copyApp()
  const assets = path.join(copy.directory, 'assets')
  for (const name of await readdir(assets)) {
    if (!/engine\.worker.*\.js$/.test(name)) continue
    const file = path.join(assets, name)
    await writeFile(
      file,
      `(${observe})(${JSON.stringify(OBSERVED)});\n${await readFile(file, 'utf8')}`,
    )
  }
  await copy.publish('observed')
  return copy
}

/** Runs in the worker, before the engine. */
function observe(name: string): void {
  const reports = new BroadcastChannel(name)
  const report = (way: ObservedDatagram['way'], bytes: unknown): void => {
    if (bytes instanceof Uint8Array && bytes[0] === 1) {
      reports.postMessage({ way, opcode: bytes[1] })
    }
  }
  const writer = WritableStreamDefaultWriter.prototype
  const { write } = writer
  writer.write = function (bytes: unknown) {
    report('out', bytes)
    return write.call(this, bytes)
  }
  const reader = ReadableStreamDefaultReader.prototype
  const { read } = reader
  reader.read = async function () {
    const result = await read.call(this)
    report('in', result.value)
    return result
  }
}
