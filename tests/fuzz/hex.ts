/** Bytes as hex, for comparisons by the thousand; no secret of anybody passes through it. */
import { Buffer } from 'node:buffer'

export function toHex({ buffer, byteOffset, length }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, length).toString('hex')
}
