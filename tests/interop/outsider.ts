/**
 * Who is no member and may propose a Remove (RFC 9420 section 12.1.8), such as a hub. Framed and
 * signed by `ts-mls` 1.6.4, whose own function for this does not find the key in a rightly encoded
 * `external_senders`. Owns its key pair.
 */
import { encodeMlsMessage } from 'ts-mls'
import { protectExternalProposalPublic } from 'ts-mls/messageProtectionPublic.js'
import type { OutsideSender } from './peer.ts'
import { tsMlsSuite } from './ts-mls-peer.ts'

export interface Outsider {
  readonly sender: OutsideSender
  /** Seed of the Ed25519 key. */
  readonly signatureSecret: Uint8Array
  /** The proposal as PublicMessage; it stands first in `external_senders`. */
  remove(
    of: { readonly groupId: Uint8Array; readonly epoch: bigint; readonly leaf: number },
  ): Promise<Uint8Array>
}

export async function createOutsider(): Promise<Outsider> {
  const suite = await tsMlsSuite()
  const { publicKey, signKey } = await suite.signature.keygen()
  return {
    // The library keeps PKCS #8, at whose end the seed stands.
    signatureSecret: signKey.slice(-32),
    sender: { signatureKey: publicKey, identity: new TextEncoder().encode('hub') },
    async remove({ groupId, epoch, leaf }) {
      // Only group and epoch go into the message; its signature covers no context.
      const context = {
        version: 'mls10',
        cipherSuite: suite.name,
        groupId,
        epoch,
        treeHash: new Uint8Array(),
        confirmedTranscriptHash: new Uint8Array(),
        extensions: [],
      } as const
      const { publicMessage } = await protectExternalProposalPublic(
        signKey,
        { ...context, extensions: [] },
        new Uint8Array(),
        { proposalType: 'remove', remove: { removed: leaf } },
        { senderType: 'external', senderIndex: 0 },
        suite,
      )
      return encodeMlsMessage({
        version: 'mls10',
        wireformat: 'mls_public_message',
        publicMessage,
      })
    },
  }
}
