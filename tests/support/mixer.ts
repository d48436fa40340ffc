/**
 * One mixing function over 256 bits, of which tests make primitives that are fast and not secret.
 * Other input gives other output; anybody can go back. Owns no primitive.
 */

export const MIX_WIDTH = 32

/** 256 bits, each step a permutation of them: what differs at one place goes on differing. */
class Mixer {
  readonly #lanes = new Int32Array(8)
  readonly #bytes = new Uint8Array(this.#lanes.buffer)

  start(purpose: number): this {
    this.#lanes.set([0x6b616c61, 0x6e647261, purpose, 0x3c6ef372, 0x510e527f, purpose, 7, 1])
    return this
  }

  absorb(part: Uint8Array): this {
    const [bytes, lanes] = [this.#bytes, this.#lanes]
    for (let at = 0; at < part.length; at += MIX_WIDTH) {
      const end = Math.min(MIX_WIDTH, part.length - at)
      for (let index = 0; index < end; index++) {
        bytes[index] = (bytes[index] as number) ^ (part[at + index] as number)
      }
      this.#permute(2)
    }
    lanes[0] = (lanes[0] as number) ^ part.length
    lanes[7] = (lanes[7] as number) ^ 0x5bd1e995
    this.#permute(2)
    return this
  }

  squeeze(length: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(length)
    for (let at = 0; at < length; at += MIX_WIDTH) {
      this.#permute(6)
      out.set(this.#bytes.subarray(0, Math.min(MIX_WIDTH, length - at)), at)
    }
    return out
  }

  #permute(rounds: number): void {
    const lanes = this.#lanes
    let [a, b, c, d, e, f, g, h] = lanes as unknown as [
      ...[number, number, number, number],
      ...[number, number, number, number],
    ]
    for (let round = 0; round < rounds; round++) {
      a = (a + c + round) | 0
      g = rotate(g ^ a, 16)
      e = (e + g) | 0
      c = rotate(c ^ e, 12)
      b = (b + d) | 0
      h = rotate(h ^ b, 8)
      f = (f + h) | 0
      d = rotate(d ^ f, 7)
      a = (a + d) | 0
      h = rotate(h ^ a, 16)
      e = (e + h) | 0
      d = rotate(d ^ e, 12)
      b = (b + c) | 0
      g = rotate(g ^ b, 8)
      f = (f + g) | 0
      c = rotate(c ^ f, 7)
    }
    lanes[0] = a
    lanes[1] = b
    lanes[2] = c
    lanes[3] = d
    lanes[4] = e
    lanes[5] = f
    lanes[6] = g
    lanes[7] = h
  }
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}

const mixer = new Mixer()

/** `length` bytes that depend on the purpose and on every part and its length. */
export function mix(
  purpose: number,
  parts: readonly Uint8Array[],
  length: number = MIX_WIDTH,
): Uint8Array<ArrayBuffer> {
  mixer.start(purpose)
  for (const part of parts) mixer.absorb(part)
  return mixer.squeeze(length)
}
