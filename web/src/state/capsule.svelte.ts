/**
 * The report of this device's own steps: made by the engine, looked at, saved as a file. Owns the
 * text and the state of the call; it leaves the device only as a file that a person saves.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient } from '../engine/client.ts'
import { saveFile } from './platform.ts'

export class CapsuleState {
  /** JSON lines; null until they are made. */
  text = $state.raw<string | null>(null)
  busy = $state(false)
  code = $state<string | null>(null)
  readonly #client: EngineClient

  constructor(client: EngineClient) {
    this.#client = client
  }

  async make(): Promise<void> {
    if (this.busy) return
    this.busy = true
    this.code = null
    try {
      this.text = await this.#client.call('exportCapsule', {})
    } catch (error) {
      this.code = error instanceof EngineError ? error.code : 'failed'
    } finally {
      this.busy = false
    }
  }

  save(): void {
    if (this.text !== null) saveFile('kalandra-report.jsonl', this.text)
  }
}
