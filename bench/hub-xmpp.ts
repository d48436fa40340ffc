/**
 * Members of an XMPP room (RFC 6120, XEP-0045) over plain TCP: anonymous sign-in, presence, one
 * sender, and a count of the messages that come. Owns no XML parser: the few answers are awaited by
 * a piece of their text, and a message is counted by the end of its body.
 */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ok } from 'node:assert/strict'
import { clockMs } from './hub-member.ts'

const BODY_END = '</body>'
const DEADLINE_MS = 20_000

export interface XmppRoom {
  readonly port: number
  /** Bare JID of the room. */
  readonly room: string
  /** Number of the first nickname. */
  readonly firstNick: number
  readonly bodyLength: number
}

class XmppMember {
  readonly connection: Socket
  deliveredCount = 0
  /** Called when messages have come. */
  progressed: () => void = () => {}
  #text = ''
  #awaited: { readonly text: string; readonly resolve: () => void } | null = null
  #counting = false
  #rest: Buffer = Buffer.alloc(0)

  constructor(connection: Socket) {
    this.connection = connection
    connection.on('data', (chunk: Buffer) => this.#received(chunk))
  }

  #received(chunk: Buffer): void {
    if (this.#counting) return this.#count(chunk)
    this.#text += chunk.toString('utf8')
    if (this.#awaited !== null && this.#text.includes(this.#awaited.text)) {
      const { resolve } = this.#awaited
      this.#awaited = null
      this.#text = ''
      resolve()
    }
  }

  /** Says something and waits for a text in what comes back. */
  async ask(stanza: string, answer: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#text = ''
    this.#awaited = { text: answer, resolve }
    this.connection.write(stanza)
    const timer = setTimeout(() => {
      throw new Error(`${answer} did not come, but: ${this.#text}`)
    }, DEADLINE_MS)
    await promise
    clearTimeout(timer)
  }

  startCounting(): void {
    this.#counting = true
    this.deliveredCount = 0
  }

  #count(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const found = bytes.indexOf(BODY_END, at)
      if (found < 0) break
      this.deliveredCount++
      at = found + BODY_END.length
    }
    this.#rest = bytes.subarray(Math.max(at, bytes.length - BODY_END.length + 1))
    this.progressed()
  }
}

export class XmppCrowd {
  #members: XmppMember[] = []
  #room: XmppRoom | null = null

  /** Connects members and has them enter the room. */
  async open(room: XmppRoom, count: number): Promise<void> {
    this.#room = room
    for (let index = 0; index < count; index++) {
      this.#members.push(await enter(room, `member${room.firstNick + index}`))
    }
  }

  /** The first member says `count` messages, at most `window` of which have not come back to it. */
  async send(count: number, window: number): Promise<number> {
    const [sender] = this.#members
    ok(sender !== undefined && this.#room !== null, 'a sender')
    const { room, bodyLength } = this.#room
    const body = 'x'.repeat(bodyLength)
    const stanza = `<message to='${room}' type='groupchat'><body>${body}</body></message>`
    const beganMs = clockMs()
    const { promise, resolve } = Promise.withResolvers<void>()
    let sent = 0
    const fill = () => {
      const upTo = Math.min(count, sender.deliveredCount + window)
      if (sent < upTo) sender.connection.write(stanza.repeat(upTo - sent))
      sent = Math.max(sent, upTo)
      if (sender.deliveredCount >= count) resolve()
    }
    const { progressed } = sender
    sender.progressed = () => {
      progressed()
      fill()
    }
    fill()
    await promise
    return beganMs
  }

  /** Counts from 0 again; to be called in all threads before anything is sent. */
  restartCounts(): void {
    for (const member of this.#members) member.startCounting()
  }

  /** Resolves, with the time, when every member has so many messages. */
  async reach(deliveredEach: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    let missing = this.#members.length
    for (const member of this.#members) {
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

  close(): void {
    for (const { connection } of this.#members) connection.destroy()
    this.#members = []
  }
}

async function enter({ port, room }: XmppRoom, nick: string): Promise<XmppMember> {
  const connection = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(connection, 'connect')
  const member = new XmppMember(connection)
  const open = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' " +
    "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
  await member.ask(open, '</stream:features>')
  await member.ask(
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>",
    '<success',
  )
  await member.ask(open, '</stream:features>')
  await member.ask(
    "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    '</jid>',
  )
  await member.ask(
    `<presence to='${room}/${nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>`,
    "code='110'",
  )
  return member
}
