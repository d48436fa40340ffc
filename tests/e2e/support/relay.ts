/**
 * A relay between one person and the hub, for TCP and UDP on one port number, which a test can
 * cut, silence and heal. Owns the network's faults; reads nothing of what passes.
 */
import { createSocket, type Socket as UdpEnd } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket as TcpEnd } from 'node:net'

const HUB_ADDRESS = '127.0.0.1'
const BIND_ATTEMPTS_MAX = 20

export interface Relay {
  readonly port: number
  /** Connections are reset, new ones refused; UDP ports are closed. */
  cut(): Promise<void>
  /** Everything is dropped without a word, in both directions; connections look alive. */
  swallow(): void
  /** UDP is dropped without a word, in both directions; TCP passes. */
  blockUdp(): void
  /** All passes again. Connections that lost bytes are reset: TCP does not lose any. */
  heal(): Promise<void>
  close(): Promise<void>
}

interface TcpPair {
  readonly client: TcpEnd
  readonly hub: TcpEnd
}

type Weather = 'healthy' | 'cut' | 'swallowing' | 'udpBlocked'

/** Starts a relay to a port of this machine. */
export async function startRelay(options: { readonly hubPort: number }): Promise<Relay> {
  const relay = new TcpUdpRelay(options.hubPort)
  await relay.bindFreePort()
  return relay
}

class TcpUdpRelay implements Relay {
  port = 0
  #weather: Weather = 'healthy'
  #tcp: Server | null = null
  #udp: UdpEnd | null = null
  readonly #hubPort: number
  readonly #pairs = new Set<TcpPair>()
  /** The way to the hub of each client address, so that answers find their way back. */
  readonly #udpByClient = new Map<string, UdpEnd>()

  constructor(hubPort: number) {
    this.#hubPort = hubPort
  }

  async bindFreePort(): Promise<void> {
    for (let attempt = 0; attempt < BIND_ATTEMPTS_MAX; attempt += 1) {
      try {
        await this.#bind(0)
        return
      } catch (error) {
        await this.#unbind()
        if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
      }
    }
    throw new Error('no port is free for TCP and UDP alike')
  }

  async cut(): Promise<void> {
    this.#weather = 'cut'
    await this.#unbind()
  }

  swallow(): void {
    this.#weather = 'swallowing'
    for (const pair of this.#pairs) stopPair(pair)
  }

  blockUdp(): void {
    this.#weather = 'udpBlocked'
  }

  async heal(): Promise<void> {
    const before = this.#weather
    this.#weather = 'healthy'
    if (before === 'swallowing') this.#resetPairs()
    if (before === 'cut') await this.#bind(this.port)
  }

  async close(): Promise<void> {
    await this.#unbind()
  }

  async #bind(port: number): Promise<void> {
    const tcp = createServer((client) => this.#relayTcp(client))
    tcp.listen({ host: '::', port })
    await once(tcp, 'listening')
    this.#tcp = tcp
    this.port = (tcp.address() as { port: number }).port
    const udp = createSocket({ type: 'udp6', ipv6Only: false })
    this.#udp = udp
    udp.bind(this.port, '::')
    await once(udp, 'listening')
    udp.on('message', (bytes, from) => this.#relayUdp(udp, bytes, from))
    udp.on('error', () => {})
  }

  async #unbind(): Promise<void> {
    const tcp = this.#tcp
    this.#tcp = null
    const tcpClosed = new Promise<void>((done) => tcp === null ? done() : tcp.close(() => done()))
    this.#resetPairs()
    const ends = [this.#udp, ...this.#udpByClient.values()].filter((udp) => udp !== null)
    this.#udp = null
    this.#udpByClient.clear()
    const udpClosed = ends.map((udp) => new Promise<void>((done) => udp.close(done)))
    await Promise.all([tcpClosed, ...udpClosed])
  }

  #resetPairs(): void {
    for (const { client, hub } of this.#pairs) {
      client.resetAndDestroy()
      hub.resetAndDestroy()
    }
    this.#pairs.clear()
  }

  #relayTcp(client: TcpEnd): void {
    const hub = connect({ host: HUB_ADDRESS, port: this.#hubPort, noDelay: true })
    client.setNoDelay(true)
    const pair = { client, hub }
    this.#pairs.add(pair)
    const end = (): void => {
      this.#pairs.delete(pair)
      client.destroy()
      hub.destroy()
    }
    for (const [from, to] of [[client, hub], [hub, client]] as const) {
      from.on('error', end)
      from.on('close', end)
      from.pipe(to)
    }
    if (this.#weather === 'swallowing') stopPair(pair)
  }

  #relayUdp(udp: UdpEnd, bytes: Buffer, from: { address: string; port: number }): void {
    if (this.#weather !== 'healthy') return
    const client = `${from.address} ${from.port}`
    let hub = this.#udpByClient.get(client)
    if (hub === undefined) {
      hub = createSocket('udp4')
      hub.on('message', (answer) => {
        if (this.#weather === 'healthy') udp.send(answer, from.port, from.address)
      })
      hub.on('error', () => {})
      this.#udpByClient.set(client, hub)
    }
    hub.send(bytes, this.#hubPort, HUB_ADDRESS)
  }
}

function stopPair({ client, hub }: TcpPair): void {
  for (const end of [client, hub]) {
    end.unpipe()
    end.pause()
  }
}
