/**
 * Signing up. Owns the two fields, their check and the state of the call; owns no words.
 */
import { EngineError } from '../engine/client.ts'
import type { EngineClient } from '../engine/client.ts'
import { readHubDomain } from './hub.ts'

export interface EnrolOptions {
  readonly client: EngineClient
  readonly hubOrigin: string
  readonly deviceName: string
}

export class EnrolState {
  name = $state('')
  deviceName = $state('')
  busy = $state(false)
  /** Why the last try failed; null while there is nothing to say. */
  code = $state<string | null>(null)
  /** Null until the hub has said it. */
  hubDomain = $state<string | null>(null)
  readonly account: string = $derived(this.name.trim().toLowerCase())
  readonly #options: EnrolOptions
  #domainAsked = false

  constructor(options: EnrolOptions) {
    this.#options = options
    this.deviceName = options.deviceName
  }

  /** Asks the hub for the domain in `name@domain`, until it has answered once. */
  async askDomain(): Promise<void> {
    if (this.#domainAsked) return
    this.#domainAsked = true
    this.hubDomain = await readHubDomain(this.#options.hubOrigin)
    this.#domainAsked = this.hubDomain !== null
  }

  /** True when the hub has attested the account. */
  async signUp(): Promise<boolean> {
    if (this.busy) return false
    this.busy = true
    this.code = null
    const deviceName = this.deviceName.trim() || this.#options.deviceName
    try {
      await this.#options.client.call('signUp', { name: this.account, deviceName })
      return true
    } catch (error) {
      this.code = error instanceof EngineError ? error.code : 'failed'
      return false
    } finally {
      this.busy = false
    }
  }
}
