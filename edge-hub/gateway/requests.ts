/**
 * The number of a request (WIRE-5), from a decoded body or from the bytes of one that could not be
 * decoded, so that its refusal finds back. Owns nothing else.
 */
import type { RequestId } from '#core/base/ids.ts'
import { type BodyKind, bodyKind, type Message } from '#core/wire/bodies.ts'
import type { Frame } from '#core/wire/frame.ts'

/** Bodies that begin with the number of a request. */
const WITH_REQUEST: ReadonlySet<BodyKind> = new Set<BodyKind>([
  'register',
  'publishKeyPackages',
  'claimKeyPackages',
  'createRoom',
  'submitCommit',
  'submitFrame',
  'submitProposal',
  'submitVote',
  'subscribe',
  'unsubscribe',
  'requestGroup',
  'leaveAnchor',
])

/** Request 0 stands for none. */
const NONE = 0 as RequestId

export function requestOf(message: Message): RequestId {
  return 'request' in message.body ? message.body.request : NONE
}

/** The number at the head of a body that did not decode. */
export function requestOfFrame(frame: Frame): RequestId {
  const kind = bodyKind(frame.opcode)
  const { body } = frame
  if (kind === null || !WITH_REQUEST.has(kind) || body.length < 4) return NONE
  return new DataView(body.buffer, body.byteOffset).getUint32(0) as RequestId
}
