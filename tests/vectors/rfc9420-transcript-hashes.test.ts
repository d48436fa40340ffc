/** Transcript hashes and confirmation tags (RFC 9420 sections 8.2 and 6.1), published vectors. */
import { strictEqual } from 'node:assert/strict'
import { toHex } from '#core/base/bytes.ts'
import { type AuthenticatedContent, authenticatedContent } from '#core/mls/framing.ts'
import { confirmationTag } from '#core/mls/key-schedule.ts'
import { confirmedTranscriptHash, interimTranscriptHash } from '#core/mls/transcript.ts'
import { decode } from '#core/wire/codec.ts'
import { familyTest } from './families.ts'
import { hex } from './published.ts'

interface TranscriptHashes {
  readonly cipher_suite: number
  readonly confirmation_key: string
  readonly authenticated_content: string
  readonly interim_transcript_hash_before: string
  readonly confirmed_transcript_hash_after: string
  readonly interim_transcript_hash_after: string
}

familyTest<TranscriptHashes>('transcript-hashes', 'transcript-hashes*.json', (vector, suite) => {
  const { wireFormat, content, auth } = commitOf(vector)
  const interimBefore = hex(vector.interim_transcript_hash_before)
  const confirmed = confirmedTranscriptHash(suite, interimBefore, {
    wireFormat,
    content,
    signature: auth.signature,
  })
  strictEqual(toHex(confirmed), vector.confirmed_transcript_hash_after)
  const tag = confirmationTag(suite, hex(vector.confirmation_key), confirmed)
  strictEqual(toHex(tag), toHex(auth.confirmationTag as Uint8Array))
  const interim = interimTranscriptHash(suite, confirmed, tag)
  strictEqual(toHex(interim), vector.interim_transcript_hash_after)
})

function commitOf(vector: TranscriptHashes): AuthenticatedContent {
  const decoded = decode(authenticatedContent, hex(vector.authenticated_content))
  if (decoded.kind === 'malformed') throw new Error(`a commit is ${decoded.code}`)
  strictEqual(decoded.value.content.body.kind, 'commit')
  return decoded.value
}
