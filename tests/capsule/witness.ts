/**
 * Everything of a person that a capsule must not hold: what was stored, what went over the wire,
 * and what was typed. Owns gathering it; the search is `leaks.ts`.
 */
import type { DeviceStore } from '#core/device/store.ts'
import { createMemoryDeviceStore } from '#core/device/store.ts'
import type { Dialer, SessionTransport } from '#core/device/transport.ts'
import type { Secret } from './leaks.ts'

/** Sees all that a device stores, sends and hears. */
export class Witness {
  readonly secrets: Secret[] = []
  readonly store: DeviceStore

  constructor() {
    const store = createMemoryDeviceStore()
    this.store = {
      ...store,
      apply: (changes, durability) => {
        for (const change of changes) {
          if (change.kind !== 'put') continue
          this.saw(`record of ${change.table}`, change.value)
          // Of the account there is one record, and its key is a word.
          if (change.table !== 'account') this.types(`key of ${change.table}`, change.key)
        }
        return store.apply(changes, durability)
      },
    }
  }

  saw(what: string, bytes: Uint8Array): void {
    this.secrets.push({ what, bytes: bytes.slice() })
  }

  types(what: string, text: string): string {
    this.saw(what, new TextEncoder().encode(text))
    return text
  }

  /** A dialer whose frames are seen in both directions. */
  dialer = (dialer: Dialer): Dialer => ({
    dial: (endpoint, listener) =>
      dialer.dial(endpoint, {
        opened: (transport) => listener.opened(this.#transport(transport)),
        closed: () => listener.closed(),
        framesReceived: (frames) => {
          for (const frame of frames) this.saw('frame of the hub', frame)
          listener.framesReceived(frames)
        },
      }),
  })

  #transport(transport: SessionTransport): SessionTransport {
    const seen = (frame: Uint8Array) => {
      this.saw('frame of the device', frame)
      return frame
    }
    return {
      kind: transport.kind,
      send: (frame) => transport.send(seen(frame)),
      sendDatagram: (frame) => transport.sendDatagram(seen(frame)),
      close: () => transport.close(),
    }
  }
}
