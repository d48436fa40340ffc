/** Tests of frames: header, splitter, bodies, and what is refused. */
import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { concat } from '#core/base/bytes.ts'
import { logPosition, NO_ROOM, type RequestId, type RoomId } from '#core/base/ids.ts'
import { LIMITS } from '#core/base/limits.ts'
import { BODIES, decodeMessage, encodeMessage } from '#core/wire/bodies.ts'
import { type Codec, decode, encode, enumU8, struct, u32, u64 } from '#core/wire/codec.ts'
import { vector } from '#core/wire/codec.ts'
import { buildFrame, FRAME_HEADER_LENGTH, FrameSplitter, joinFrames } from '#core/wire/frame.ts'
import { parseFrame } from '#core/wire/frame.ts'
import * as entries from '#core/wire/log-entry.ts'
import { COMMIT_FAULTS, type CommitFault, refusalCodec } from '#core/wire/refusals.ts'
import { VOTE_FAULTS, type VoteFault } from '#core/wire/refusals.ts'
import { createPrng } from './prng.ts'

const room = new Uint8Array(32).fill(5) as RoomId
const request = 7 as RequestId

function decoded(bytes: Uint8Array) {
  const frame = parseFrame(bytes)
  ok(frame.kind === 'frame')
  return decodeMessage(frame)
}

Deno.test('WIRE-1: a frame is version, opcode, room and body, without a copy', () => {
  const bytes = buildFrame(0x22, room, Uint8Array.of(1, 2, 3))
  const frame = parseFrame(bytes)
  ok(frame.kind === 'frame')
  deepStrictEqual([frame.version, frame.opcode], [1, 0x22])
  strictEqual(frame.body.buffer, bytes.buffer)
  deepStrictEqual([...frame.body], [1, 2, 3])
  const short = parseFrame(bytes.subarray(0, FRAME_HEADER_LENGTH - 1))
  deepStrictEqual(short, { kind: 'malformed', code: 'truncated' })
  const long = parseFrame(new Uint8Array(LIMITS.frameSizeMax + 1))
  deepStrictEqual(long, { kind: 'malformed', code: 'oversized' })
})

Deno.test('WIRE-2: any cutting of a stream gives the same frames', () => {
  const prng = createPrng(3)
  const frames = Array.from(
    { length: 40 },
    () => buildFrame(prng.integer(256), room, prng.bytes(prng.integer(400))),
  )
  const stream = joinFrames(frames)
  for (const chunkMax of [1, 2, 3, 7, 100, 5_000]) {
    const splitter = new FrameSplitter()
    const out: Uint8Array[] = []
    for (let offset = 0; offset < stream.length;) {
      const length = 1 + prng.integer(chunkMax)
      const split = splitter.push(stream.slice(offset, offset + length))
      ok(split.kind === 'frames')
      out.push(...split.frames)
      offset += length
    }
    ok(splitter.empty)
    deepStrictEqual(out.map((frame) => frame.slice()), frames)
  }
})

Deno.test('WIRE-2: a length over the limit or below a header ends the stream', () => {
  for (
    const [length, code] of [[LIMITS.frameSizeMax + 1, 'oversized'], [3, 'truncated']] as const
  ) {
    const prefix = new Uint8Array(4)
    new DataView(prefix.buffer).setUint32(0, length)
    deepStrictEqual(new FrameSplitter().push(prefix), { kind: 'malformed', code })
  }
  const whole = joinFrames([buildFrame(1, room, new Uint8Array(9))])
  const splitter = new FrameSplitter()
  splitter.push(whole.subarray(0, 20))
  ok(!splitter.empty)
})

Deno.test('WIRE-3, WIRE-5: unknown versions, opcodes, rooms and bodies are named', () => {
  const good = encodeMessage('heartbeat', NO_ROOM, { sequence: 1 })
  strictEqual(decoded(good).kind, 'message')
  const versioned = good.slice()
  versioned[0] = 9
  deepStrictEqual(decoded(versioned), {
    kind: 'refused',
    opcode: 5,
    refusal: { kind: 'unknownVersion', version: 9 },
  })
  deepStrictEqual(decoded(buildFrame(0xee, NO_ROOM, new Uint8Array(0))), {
    kind: 'refused',
    opcode: 0xee,
    refusal: { kind: 'unknownOpcode', opcode: 0xee },
  })
  const cases = [
    [buildFrame(5, room, good.subarray(FRAME_HEADER_LENGTH)), 'wrongRoom'],
    [buildFrame(0x22, NO_ROOM, new Uint8Array(9)), 'wrongRoom'],
    [good.subarray(0, good.length - 1), 'malformed'],
    [concat(good, Uint8Array.of(0)), 'malformed'],
  ] as const
  for (const [bytes, code] of cases) {
    const outcome = decoded(bytes)
    ok(outcome.kind === 'refused')
    strictEqual(outcome.refusal.kind, code)
  }
})

Deno.test('WIRE-4: opcodes are unique, and rooms begin at 0x20', () => {
  const opcodes = Object.values(BODIES).map(([opcode]) => opcode)
  strictEqual(new Set(opcodes).size, opcodes.length)
  for (const kind of ['createRoom', 'submitFrame', 'subscribe', 'ephemeral'] as const) {
    ok(BODIES[kind][0] >= 0x20)
  }
})

Deno.test('WIRE-4: what votes, verdicts and groups travel in reads back', () => {
  const bodies = [
    ['submitVote', { request, vote: Uint8Array.of(1) }],
    ['askVote', { position: logPosition(9n) }],
    ['submitProposal', { request, proposal: Uint8Array.of(2) }],
    ['leaveAnchor', { request, anchor: Uint8Array.of(3) }],
    ['requestGroup', { request, token: null, purpose: { kind: 'newDevice' } }],
    ['group', { request, sequence: 0, last: true, bytes: Uint8Array.of(4) }],
  ] as const
  for (const [kind, body] of bodies) {
    const read = decoded(encodeMessage(kind, room, body))
    ok(read.kind === 'message')
    deepStrictEqual(read.message, { kind, room, body })
  }
})

Deno.test('WIRE-5: a refusal names why a commit or a vote is none', () => {
  for (const fault of Object.keys(COMMIT_FAULTS) as CommitFault[]) {
    const refusal = { kind: 'badCommit', fault } as const
    const read = decode(refusalCodec, encode(refusalCodec, refusal))
    deepStrictEqual(read, { kind: 'decoded', value: refusal })
  }
  for (const fault of Object.keys(VOTE_FAULTS) as VoteFault[]) {
    const refusal = { kind: 'badVote', fault } as const
    const read = decode(refusalCodec, encode(refusalCodec, refusal))
    deepStrictEqual(read, { kind: 'decoded', value: refusal })
  }
})

Deno.test('LOG-6: every kind of entry has a body of its own, read to its last byte', () => {
  const seen = { position: 3n, hash: new Uint8Array(32) }
  const one = Uint8Array.of(1)
  const bodies = [
    [entries.genesisEntryCodec, { genesis: one, groupInfo: one, certificate: one }],
    [entries.commitEntryCodec, { commit: one, groupInfo: one, certificates: [one], seen }],
    [entries.voteEntryCodec, { vote: one }],
    [entries.verdictEntryCodec, { position: 2n, verdict: 'void', asked: [0, 7] }],
    [entries.proposalEntryCodec, { proposal: one }],
  ] as const
  for (const [codec, body] of bodies as readonly (readonly [Codec<unknown>, unknown])[]) {
    const bytes = encode(codec, body)
    deepStrictEqual(decode(codec, bytes), { kind: 'decoded', value: body })
    strictEqual(decode(codec, bytes.subarray(0, -1)).kind, 'malformed')
    strictEqual(decode(codec, concat(bytes, one)).kind, 'malformed')
  }
  const crowd = { position: 2n, verdict: 'final', asked: Array.from({ length: 17 }, () => 0) }
  const wide = struct({ position: u64, verdict: enumU8(entries.VERDICTS), asked: vector(u32, 17) })
  const bytes = encode(wide as Codec<unknown>, crowd)
  strictEqual(decode(entries.verdictEntryCodec, bytes).kind, 'malformed')
  strictEqual(Object.keys(entries.ENTRY_KINDS).length, bodies.length + 1)
})

Deno.test('WIRE-3: random and changed bodies of every opcode never throw', () => {
  const prng = createPrng(5)
  const submit = encodeMessage('submitFrame', room, { request, after: null, frame: prng.bytes(60) })
  for (let bit = 0; bit < submit.length * 8; bit++) {
    const changed = submit.slice()
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
    decoded(changed)
  }
  for (const [opcode] of Object.values(BODIES)) {
    for (let run = 0; run < 200; run++) {
      const target = opcode < 0x20 ? NO_ROOM : room
      decoded(buildFrame(opcode, target, prng.bytes(prng.integer(200))))
    }
  }
})
