/**
 * State of the whole app in this tab: account, connection, rooms, and the states of the screens
 * that were visited. Owns no words and no markup; the engine owns the truth.
 */
import { createSubscriber } from 'svelte/reactivity'
import type { EngineClient, EngineSnapshot } from '../engine/client.ts'
import type { AccountView, ConnectionView, RoomSummary } from '#sdk/views.ts'
import { forgetAccount, rememberAccount } from './accounts.ts'
import { CapsuleState } from './capsule.svelte.ts'
import { keepStorage } from './platform.ts'
import { EnrolState } from './enrol.svelte.ts'
import { JoinState } from './join.svelte.ts'
import { RoomScreenState } from './room-screen.svelte.ts'

export interface AppOptions {
  readonly client: EngineClient
  readonly accountId: string
  /** Origin of the hub. */
  readonly hubOrigin: string
  /** First name of this device, which a person may change. */
  readonly deviceName: string
}

const noAccount: AccountView = { kind: 'none' }
const notConnected: ConnectionView = { kind: 'connecting' }

export class AppState {
  readonly client: EngineClient
  readonly hubOrigin: string
  readonly enrol: EnrolState
  /** What the browser says about the network; the engine knows better once it has dialed. */
  networkReachable = $state(navigator.onLine)
  readonly #accountId: string
  readonly #subscribe: () => void
  readonly #rooms = new Map<string, RoomScreenState>()

  readonly snapshot: EngineSnapshot = $derived.by(() => {
    this.#subscribe()
    return this.client.snapshot()
  })
  readonly account: AccountView = $derived(
    this.snapshot.kind === 'running' ? this.snapshot.view.account : noAccount,
  )
  readonly connection: ConnectionView = $derived(
    this.snapshot.kind === 'running' ? this.snapshot.view.connection : notConnected,
  )
  /** Latest first. */
  readonly rooms: readonly RoomSummary[] = $derived(
    this.snapshot.kind === 'running' ? this.snapshot.view.rooms : [],
  )
  readonly unreadRoomCount: number = $derived(
    this.rooms.filter((room) => room.unreadCount > 0).length,
  )

  constructor({ client, accountId, hubOrigin, deviceName }: AppOptions) {
    this.client = client
    this.hubOrigin = hubOrigin
    this.#accountId = accountId
    this.#subscribe = createSubscriber((update) => client.subscribe(update))
    this.enrol = new EnrolState({ client, hubOrigin, deviceName })
    const stop = client.subscribe(() => {
      const snapshot = client.snapshot()
      if (snapshot.kind !== 'running' || snapshot.view.account.kind !== 'registered') return
      stop()
      void rememberAccount(accountId, snapshot.view.account.name)
      keepStorage()
    })
  }

  /** The screen state of a room; drafts live as long as the tab. */
  room(room: string): RoomScreenState {
    const known = this.#rooms.get(room)
    if (known !== undefined) return known
    const fresh = new RoomScreenState(this.client, room)
    this.#rooms.set(room, fresh)
    return fresh
  }

  join(fragment: string): JoinState {
    return new JoinState(this.client, fragment)
  }

  capsule(): CapsuleState {
    return new CapsuleState(this.client)
  }

  createRoom(title: string): Promise<string> {
    return this.client.call('createRoom', { title })
  }

  networkChanged(online: boolean): void {
    this.networkReachable = online
    this.client.networkChanged(online)
  }

  /** Gives up the account on this device and begins anew. */
  async startAgain(): Promise<void> {
    await this.client.call('eraseStorage', {}).catch(() => undefined)
    await forgetAccount(this.#accountId)
    location.assign('/')
  }
}
