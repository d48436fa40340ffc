/**
 * Who speaks in a session (SES-2, SES-3): the hub signs its greeting, the device signs a challenge
 * over everything that both said before. Owns what is signed; the order of frames is the session's.
 */
import type { AccountName, DeviceId } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import { LABELS, signWithLabel, verifyWithLabel } from '#core/crypto/labels.ts'
import { accountNameCodec, BODIES, type Body, deviceIdCodec } from '#core/wire/bodies.ts'
import { encode, fixed, struct, u8 } from '#core/wire/codec.ts'
import { format, STRUCTURE_VERSION } from '#core/wire/structure.ts'

export type Hello = Body<'hello'>
export type Greeting = Body<'greeting'>

const greetingContent = struct({
  format: format('greeting'),
  hello: BODIES.hello[1],
  greeting: BODIES.greeting[1],
})

const UNSIGNED = new Uint8Array(64)

function greetingBytes(hello: Hello, greeting: Omit<Greeting, 'signature'>): Uint8Array {
  return encode(greetingContent, {
    format: STRUCTURE_VERSION,
    hello,
    greeting: { ...greeting, signature: UNSIGNED },
  })
}

/**
 * Signs a greeting with the hub's key; both nonces and both lists of versions are in it (SES-2).
 */
export async function signGreeting(
  crypto: Crypto,
  said: { readonly hello: Hello; readonly greeting: Omit<Greeting, 'signature'> },
  hubSecret: Uint8Array,
): Promise<Greeting> {
  const signature = await signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: hubSecret,
    label: LABELS.greeting,
    content: greetingBytes(said.hello, said.greeting),
  })
  return { ...said.greeting, signature }
}

/** True when the greeting is signed by the key that it names (SES-2). */
export function verifyGreeting(
  crypto: Crypto,
  said: { readonly hello: Hello; readonly greeting: Greeting },
): Promise<boolean> {
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: said.greeting.hubKey,
    label: LABELS.greeting,
    content: greetingBytes(said.hello, said.greeting),
    signature: said.greeting.signature,
  })
}

const challengeContent = struct({
  format: format('session challenge'),
  greetingHash: fixed(32),
  account: accountNameCodec,
  device: deviceIdCodec,
  transport: u8,
})

/** What the device's signature names (SES-3). */
export interface SessionChallenge {
  readonly hello: Hello
  readonly greeting: Greeting
  readonly account: AccountName
  readonly device: DeviceId
  /** Number from `TRANSPORTS`. */
  readonly transport: number
}

/**
 * SHA-256 of hello and greeting, 32 bytes: what else is proven in a session names it, so that a
 * proof cannot be carried to another one (SES-3, JOIN-1).
 */
export function sessionHash(
  crypto: Crypto,
  said: { readonly hello: Hello; readonly greeting: Greeting },
): Uint8Array {
  return crypto.hash('sha256', greetingBytes(said.hello, said.greeting))
}

function challengeBytes(crypto: Crypto, challenge: SessionChallenge): Uint8Array {
  const { account, device, transport } = challenge
  return encode(challengeContent, {
    format: STRUCTURE_VERSION,
    greetingHash: sessionHash(crypto, challenge),
    account,
    device,
    transport,
  })
}

/** Signs the challenge with the device's Ed25519 key (SES-3). */
export function signSessionChallenge(
  crypto: Crypto,
  challenge: SessionChallenge,
  deviceSecret: Uint8Array,
): Promise<Uint8Array> {
  return signWithLabel(crypto, {
    algorithm: 'ed25519',
    secretKey: deviceSecret,
    label: LABELS.sessionChallenge,
    content: challengeBytes(crypto, challenge),
  })
}

/** True when `signature` is the device's over this very session (SES-3). */
export function verifySessionChallenge(
  crypto: Crypto,
  challenge: SessionChallenge,
  proof: { readonly publicKey: Uint8Array; readonly signature: Uint8Array },
): Promise<boolean> {
  return verifyWithLabel(crypto, {
    algorithm: 'ed25519',
    publicKey: proof.publicKey,
    label: LABELS.sessionChallenge,
    content: challengeBytes(crypto, challenge),
    signature: proof.signature,
  })
}
