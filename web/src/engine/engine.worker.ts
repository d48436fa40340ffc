/**
 * Composition root of the browser's engine: the SDK with the browser's ports, in the dedicated
 * worker of the leading tab. Owns the wiring and what each tab watches; decides nothing.
 */
import { createDialer } from '#browser/webtransport-dialer.ts'
import { deleteAccountStorage, openIndexedDbStore, StoreError } from '#browser/indexeddb-store.ts'
import { timeMs } from '#core/base/ids.ts'
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { createWebCrypto } from '#native/webcrypto.ts'
import { type Kalandra, KalandraError, openKalandra, readInvite } from '#sdk'
import type {
  EngineCall,
  EngineMessage,
  EngineResult,
  EngineStart,
  TabMessage,
  WorkerInput,
  WorkerOutput,
} from './protocol.ts'

/** Told to the hub in the greeting; grows with each release. */
const appVersion = 1

const tell = (output: WorkerOutput): void => postMessage(output)
const sayTo = (tab: string | null, message: EngineMessage): void =>
  tell({ kind: 'say', tab, message })

const clock = { nowMs: () => timeMs(Date.now()) }
const entropy = { randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)) }
const timers = {
  after(delayMs: number, callback: () => void) {
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

async function open({ accountId, existing, endpoint }: EngineStart): Promise<Kalandra> {
  const store = await openIndexedDbStore({ accountId, existing })
  const cryptoPort = await createWebCrypto(crypto.subtle, createNobleCrypto())
  return await openKalandra({
    crypto: cryptoPort,
    clock,
    entropy,
    store,
    dialer: createDialer(),
    timers,
    endpoint,
    appVersion,
    // Names and texts never pass here: faults are programmer's errors.
    faulted: (error) => console.error(error),
  })
}

function codeOf(error: unknown): string {
  if (error instanceof KalandraError || error instanceof StoreError) return error.code
  console.error(error)
  return 'failed'
}

class EngineHost {
  readonly #accountId: string
  readonly #opened: Promise<Kalandra | string>
  readonly #watches = new Map<string, Map<number, () => void>>()

  constructor(start: EngineStart) {
    this.#accountId = start.accountId
    this.#opened = open(start).catch(codeOf)
    void this.#opened.then((engine) => {
      if (typeof engine === 'string') sayTo(null, { kind: 'engineFailed', code: engine })
      else engine.subscribe((view) => sayTo(null, { kind: 'appView', view }))
    })
  }

  async spoke(tab: string, message: TabMessage): Promise<void> {
    const engine = await this.#opened
    if (typeof engine === 'string') return this.#spokeInVain(tab, message, engine)
    switch (message.kind) {
      case 'attach':
        return sayTo(tab, { kind: 'appView', view: engine.view() })
      case 'watchRoom':
        return this.#watch(engine, tab, message)
      case 'unwatchRoom':
        this.#watches.get(tab)?.get(message.watch)?.()
        this.#watches.get(tab)?.delete(message.watch)
        return
      case 'networkChanged':
        return engine.networkChanged(message.online)
      case 'call':
        return await this.#answer(tab, message.id, this.#run(engine, message.call))
    }
  }

  gone(tab: string): void {
    for (const stop of this.#watches.get(tab)?.values() ?? []) stop()
    this.#watches.delete(tab)
  }

  async stop(): Promise<void> {
    const engine = await this.#opened
    if (typeof engine !== 'string') await engine.close()
  }

  #watch(engine: Kalandra, tab: string, message: TabMessage & { kind: 'watchRoom' }): void {
    const { watch, room, limit } = message
    const watches = this.#watches.get(tab) ?? new Map<number, () => void>()
    this.#watches.set(tab, watches)
    const stop = engine.watchRoom(room, { limit }, (view) => {
      sayTo(tab, { kind: 'roomView', watch, view })
    })
    watches.set(watch, stop)
  }

  async #answer(tab: string, id: number, outcome: Promise<EngineResult>): Promise<void> {
    try {
      sayTo(tab, { kind: 'answered', id, result: await outcome })
    } catch (error) {
      sayTo(tab, { kind: 'refused', id, code: codeOf(error) })
    }
  }

  /** The storage did not open: links can still be read and the storage be erased. */
  async #spokeInVain(tab: string, message: TabMessage, code: string): Promise<void> {
    if (message.kind === 'attach') return sayTo(tab, { kind: 'engineFailed', code })
    if (message.kind !== 'call') return
    const { id, call } = message
    if (call.kind === 'eraseStorage') return await this.#answer(tab, id, this.#erase())
    sayTo(tab, { kind: 'refused', id, code })
  }

  async #erase(): Promise<undefined> {
    await deleteAccountStorage({ accountId: this.#accountId })
    return undefined
  }

  async #run(engine: Kalandra, call: EngineCall): Promise<EngineResult> {
    switch (call.kind) {
      case 'signUp':
        return await engine.signUp(call.options)
      case 'createRoom':
        return await engine.createRoom(call.options)
      case 'sendMessage':
        await engine.sendMessage(call.options)
        return undefined
      case 'invite':
        return await engine.invite(call.options)
      case 'revokeInvitation':
        await engine.revokeInvitation(call.options)
        return undefined
      case 'readInvite':
        return readInvite(call.options.fragment)
      case 'joinByLink':
        return await engine.joinByLink(call.options.fragment)
      case 'addMember':
        await engine.addMember(call.options)
        return undefined
      case 'setTyping':
        engine.setTyping(call.options.room)
        return undefined
      case 'markRead':
        engine.markRead(call.options.room, call.options.position)
        return undefined
      case 'exportCapsule':
        return engine.exportCapsule()
      case 'eraseStorage':
        await engine.close()
        return await this.#erase()
    }
  }
}

let host: EngineHost | null = null

addEventListener('message', ({ data: input }: MessageEvent<WorkerInput>) => {
  switch (input.kind) {
    case 'start':
      host = new EngineHost(input.start)
      return
    case 'tabSpoke':
      void host?.spoke(input.tab, input.message)
      return
    case 'tabGone':
      return host?.gone(input.tab)
    case 'stop':
      void (host?.stop() ?? Promise.resolve()).finally(() => tell({ kind: 'stopped' }))
  }
})
