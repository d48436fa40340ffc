/**
 * A thread of the load: it runs the tasks that the benchmark asks for, on sessions of its own. Owns
 * the sessions between two tasks; what is measured is said by whoever asks. The entry of a worker.
 */
import { ok } from 'node:assert/strict'
import { LIMITS } from '#core/base/limits.ts'
import type { RoomId } from '#core/base/ids.ts'
import type { ClientAccount } from '../tests/support/protocol-client.ts'
import { dialerOf, type HubAddress } from './hub-address.ts'
import { EchoClients, type EchoRound } from './hub-echo.ts'
import { type Arrival, clockMs, Member } from './hub-member.ts'
import { Sealer, type SealPlan, type WrittenRoom } from './hub-seal.ts'
import { XmppCrowd, type XmppRoom } from './hub-xmpp.ts'

const OPENING_MAX = 8

/** A session to open, and the rooms that it follows, each from its first unknown position. */
export interface MemberTask {
  readonly account: ClientAccount
  readonly rooms: readonly { readonly id: RoomId; readonly from: number }[]
}

export interface Span {
  readonly beganMs: number
  readonly endedMs: number
}

/** When each paced frame was given to the transport, and the position that it got. */
export interface Sent {
  readonly position: number
  readonly atMs: number
}

class Load {
  #members: { readonly member: Member; readonly account: ClientAccount }[] = []
  #prepared: { readonly member: Member; readonly frames: Parameters<Member['submit']>[0] }[] = []
  readonly #sealer = new Sealer()
  #heartbeat: ReturnType<typeof setInterval> | undefined

  /** Opens sessions; resolves when all of them have followed their rooms to the head. */
  async open(address: HubAddress, tasks: readonly MemberTask[]): Promise<void> {
    const dialer = dialerOf(address)
    const waiting = [...tasks]
    const openNext = async (): Promise<void> => {
      for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
        const { account, rooms } = task
        const member = await Member.open(dialer, address.endpoint, account)
        for (const { id, from } of rooms) await member.follow(id, from)
        this.#members.push({ member, account })
      }
    }
    await Promise.all(Array.from({ length: OPENING_MAX }, openNext))
    this.#heartbeat ??= setInterval(() => {
      for (const { member } of this.#members) member.beat()
    }, LIMITS.heartbeatIntervalMs)
  }

  /** Seals what the members will submit: those that have rooms in `rooms`, in their order. */
  async prepare(
    account: ClientAccount,
    rooms: readonly WrittenRoom[],
    plan: SealPlan,
  ): Promise<void> {
    const sender = this.#members.find((each) => each.account.account === account.account)
    ok(sender !== undefined, 'a sender with a session')
    const frames = await this.#sealer.prepare(sender, rooms, plan)
    this.#prepared.push({ member: sender.member, frames })
  }

  /** Submits all that was prepared; resolves when all of it is accepted. */
  async submit(window: number): Promise<Span> {
    const prepared = this.#prepared
    this.#prepared = []
    const beganMs = clockMs()
    await Promise.all(prepared.map(({ member, frames }) => member.submit(frames, window)))
    return { beganMs, endedMs: clockMs() }
  }

  /** Submits one prepared frame in each interval, whatever the answers do. */
  async submitPaced(intervalMs: number): Promise<readonly Sent[]> {
    const [prepared] = this.#prepared.splice(0)
    ok(prepared !== undefined, 'prepared frames')
    const { member, frames: { frames, firstRequest } } = prepared
    const sentMs: number[] = []
    const sent: Sent[] = []
    const done = Promise.withResolvers<void>()
    member.answered = (request, position) => {
      const atMs = sentMs[request - firstRequest] as number
      sent.push({ position: Number(position), atMs })
      if (sent.length === frames.length) done.resolve()
    }
    const beganMs = clockMs()
    for (const [index, frame] of frames.entries()) {
      await pause(beganMs + index * intervalMs - clockMs())
      sentMs.push(clockMs())
      member.session.sendBytes(frame)
    }
    await done.promise
    return sent
  }

  /** Resolves, with the time, when every session has every followed room up to `counts` entries. */
  async reach(deliveredEach: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    let missing = this.#members.length
    for (const { member } of this.#members) {
      const look = () => {
        if (member.deliveredCount < deliveredEach) return
        member.progressed = () => {}
        missing--
        if (missing === 0) resolve(clockMs())
      }
      member.progressed = look
      look()
    }
    return await promise
  }

  /** Counts entries from 0 again, and records arrivals from now on if asked. */
  restartCounts(record: boolean): void {
    for (const { member } of this.#members) {
      member.deliveredCount = 0
      member.arrivals = record ? [] : null
    }
  }

  arrivals(): readonly (readonly Arrival[])[] {
    return this.#members.map(({ member }) => member.arrivals ?? [])
  }

  cuts(): number {
    return this.#members.reduce((sum, { member }) => sum + member.cutCount, 0)
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat)
    this.#heartbeat = undefined
    await Promise.all(this.#members.map(({ member }) => member.leave()))
    this.#members = []
  }
}

/** Timers of the platform fire early or late by a millisecond; both are waited out or let be. */
async function pause(ms: number): Promise<void> {
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}

const load = new Load()
const echo = new EchoClients()
const xmpp = new XmppCrowd()

/** What can be asked of a thread. */
const tasks = {
  open: (address: HubAddress, members: readonly MemberTask[]) => load.open(address, members),
  prepare: (account: ClientAccount, rooms: readonly WrittenRoom[], plan: SealPlan) =>
    load.prepare(account, rooms, plan),
  submit: (window: number) => load.submit(window),
  submitPaced: (intervalMs: number) => load.submitPaced(intervalMs),
  reach: (deliveredEach: number) => load.reach(deliveredEach),
  restartCounts: (record: boolean) => Promise.resolve(load.restartCounts(record)),
  arrivals: () => Promise.resolve(load.arrivals()),
  cuts: () => Promise.resolve(load.cuts()),
  close: () => load.close(),
  echoOpen: (address: HubAddress, count: number) => echo.open(dialerOf(address), address, count),
  echoPaced: (round: EchoRound) => echo.paced(round),
  echoRepeat: (round: EchoRound) => echo.repeat(round),
  echoClose: () => Promise.resolve(echo.close()),
  xmppOpen: (room: XmppRoom, count: number) => xmpp.open(room, count),
  xmppRestartCounts: () => Promise.resolve(xmpp.restartCounts()),
  xmppSend: (count: number, window: number) => xmpp.send(count, window),
  xmppReach: (deliveredEach: number) => xmpp.reach(deliveredEach),
  xmppClose: () => Promise.resolve(xmpp.close()),
}
export type Tasks = typeof tasks

export interface Call {
  readonly id: number
  readonly task: keyof Tasks
  readonly args: readonly unknown[]
}

interface Host {
  onmessage: ((event: MessageEvent<Call>) => void) | null
  postMessage(message: { readonly id: number; readonly result: unknown }): void
}

const host = globalThis as unknown as Host
host.onmessage = ({ data: { id, task, args } }) => {
  const run = tasks[task] as (...args: readonly unknown[]) => Promise<unknown>
  run(...args).then((result) => host.postMessage({ id, result }), (error) => {
    queueMicrotask(() => {
      throw error
    })
  })
}
