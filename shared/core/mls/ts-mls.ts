/**
 * The MLS port on `ts-mls` 1.6.4: the mapping of its methods, and the promise that bytes from
 * outside end in a coded refusal and never in an exception. Owns no rule of MLS: see
 * `ts-mls-commit.ts` and `ts-mls-join.ts`. Of the library, tree operations, framing, key schedule
 * and codecs are used; time and randomness are arguments, and nothing that reads a clock or the
 * host's generator is called.
 */
import { mlsExporter } from 'ts-mls/keySchedule.js'
import { assert } from '#core/base/assert.ts'
import { epoch } from '#core/base/ids.ts'
import type { Crypto } from '#core/crypto/crypto.ts'
import type { Mls } from '#core/mls/mls.ts'
import { followCommit, makeCommit } from '#core/mls/ts-mls-commit.ts'
import { refusing, refusingNow } from '#core/mls/ts-mls-fault.ts'
import { createOwnGroup, joinByWelcome, makeKeyPackage } from '#core/mls/ts-mls-join.ts'
import { decodeWelcome, viewCommit, viewKeyPackage } from '#core/mls/ts-mls-messages.ts'
import { decodeState, encodeState, groupOf, stateOf } from '#core/mls/ts-mls-state.ts'
import { ciphersuiteOf, NO_ENTROPY } from '#core/mls/ts-mls-suite.ts'
import { leavesOf } from '#core/mls/ts-mls-tree.ts'

/** Creates the port; it computes with `crypto` and holds no state. */
export function createTsMls(crypto: Crypto): Mls {
  return { ...transitions(crypto), ...readings(crypto) }
}

type Transitions = Pick<
  Mls,
  | 'makeKeyPackage'
  | 'createGroup'
  | 'commit'
  | 'processCommit'
  | 'join'
  | 'withoutExporter'
  | 'serialise'
  | 'restore'
>

function transitions(crypto: Crypto): Transitions {
  return {
    makeKeyPackage: (options) => makeKeyPackage(crypto, options),
    createGroup: (options) => createOwnGroup(crypto, options),
    commit: (group, options) => refusing(() => makeCommit(crypto, stateOf(group), options)),
    processCommit: (group, commit) => refusing(() => followCommit(crypto, stateOf(group), commit)),
    join: (options) =>
      refusing(async () => ({ kind: 'joined', group: await joinByWelcome(crypto, options) })),
    withoutExporter(group) {
      const state = stateOf(group)
      const { exporter } = state.secrets
      return {
        group: groupOf({ ...state, secrets: { ...state.secrets, exporter: null } }),
        consumed: exporter === null ? [] : [exporter],
      }
    },
    serialise: (group) => encodeState(stateOf(group)),
    restore(bytes) {
      const state = decodeState(crypto, bytes)
      return state === null ? null : groupOf(state)
    },
  }
}

function readings(crypto: Crypto): Omit<Mls, keyof Transitions> {
  return {
    welcomeRecipients(welcome) {
      const read = refusingNow(() => decodeWelcome(welcome).secrets)
      return 'kind' in read ? null : read.map(({ newMember }) => newMember)
    },
    readCommit: (message) => refusingNow(() => viewCommit(message)),
    readKeyPackage: (message) => refusing(() => viewKeyPackage(crypto, message)),
    suite: (group) => stateOf(group).suite,
    groupId: (group) => stateOf(group).context.groupId,
    epoch: (group) => epoch(stateOf(group).context.epoch),
    epochId: (group) => stateOf(group).epochId,
    ownLeaf: (group) => stateOf(group).leaf,
    leafCount: (group) => (stateOf(group).tree.length + 1) / 2,
    leaves: (group) => leavesOf(stateOf(group).tree),
    epochAuthenticator: (group) => stateOf(group).secrets.epochAuthenticator,
    exportSecret(group, { label, context, length }) {
      const { suite, secrets } = stateOf(group)
      assert(secrets.exporter !== null, 'the exports of this epoch have not been closed')
      const implementation = ciphersuiteOf(crypto, suite, NO_ENTROPY)
      return mlsExporter(secrets.exporter, label, context, length, implementation)
    },
  }
}
