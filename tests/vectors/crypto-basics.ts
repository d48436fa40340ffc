/** The form of the published vectors of labelled primitives (crypto-basics). */
import { hex } from './published.ts'

export interface CryptoBasics {
  readonly cipher_suite: number
  readonly ref_hash: { readonly label: string; readonly value: string; readonly out: string }
  readonly expand_with_label: {
    readonly label: string
    readonly context: string
    readonly length: number
    readonly out: string
    readonly secret: string
  }
  readonly derive_secret: { readonly label: string; readonly out: string; readonly secret: string }
  readonly derive_tree_secret: {
    readonly label: string
    readonly generation: number
    readonly length: number
    readonly out: string
    readonly secret: string
  }
  readonly sign_with_label: {
    readonly label: string
    readonly content: string
    readonly priv: string
    readonly pub: string
    readonly signature: string
  }
  readonly encrypt_with_label: {
    readonly label: string
    readonly context: string
    readonly kem_output: string
    readonly ciphertext: string
    readonly plaintext: string
    readonly priv: string
    readonly pub: string
  }
}

/** Four bytes, big-endian. */
export function uint32(value: number): Uint8Array {
  return hex(value.toString(16).padStart(8, '0'))
}
