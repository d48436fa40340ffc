/**
 * The closed set of reasons why content is malformed, and how nested decoders end with one. Owns no
 * rule: each is stated where it is checked.
 */

/** Why bytes are not the deterministic CBOR that this code reads. */
export type CborMalformedCode =
  | 'truncated'
  | 'trailing'
  | 'tooLong'
  | 'tooDeep'
  | 'tooMany'
  | 'indefinite'
  | 'notShortest'
  | 'unsortedKeys'
  | 'duplicateKey'
  | 'badKey'
  | 'badText'
  | 'badValue'

/** Why bytes are not MIMI content. */
export type ContentMalformedCode =
  | CborMalformedCode
  | 'badStructure'
  | 'badSalt'
  | 'badMessageId'
  | 'badTopicId'
  | 'badExpiration'
  | 'badExtensions'
  | 'badPart'
  | 'tooManyParts'

export type Decoding<T, Code> =
  | { readonly kind: 'decoded'; readonly value: T }
  | { readonly kind: 'malformed'; readonly code: Code }

/** Carries a code out of nested decoders. No `Error`, so it costs no stack trace. */
class Refused<Code extends string> {
  readonly code: Code
  constructor(code: Code) {
    this.code = code
  }
}

/** Ends the decoder that runs under `decoding`, whose codes must include this one. */
export function refuse<Code extends ContentMalformedCode>(code: Code): never {
  throw new Refused(code)
}

/** Runs a decoder and turns its refusal into a value. Anything else that is thrown is our fault. */
export function decoding<T, Code extends ContentMalformedCode>(
  decoder: () => T,
): Decoding<T, Code> {
  try {
    return { kind: 'decoded', value: decoder() }
  } catch (fault) {
    if (fault instanceof Refused) return { kind: 'malformed', code: fault.code as Code }
    throw fault
  }
}
