/**
 * The kinds of histories that there are: on which suite, how many members, how many commits. Owns
 * the names by which a run is repeated.
 */
import { createNobleCrypto } from '#core/crypto/noble.ts'
import { SUITES } from '#core/crypto/suites.ts'
import { cipherSuite } from '#core/mls/cipher-suite.ts'
import type { Profile } from './history.ts'
import { STAND_INS, standInSuite } from './stand-in-suite.ts'

const noble = createNobleCrypto()
const standIn = standInSuite(STAND_INS[0])

export const PROFILES: Readonly<Record<string, Profile>> = {
  quick: {
    name: 'quick',
    suite: standIn,
    costly: false,
    sizes: [2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 11, 24],
    commitsMax: 8,
  },
  large: {
    name: 'large',
    suite: standIn,
    costly: false,
    sizes: [33, 48, 64, 100, 150],
    commitsMax: 30,
  },
  interoperation: {
    name: 'interoperation',
    suite: cipherSuite(noble, SUITES.interoperation),
    costly: true,
    sizes: [3, 4, 5, 7],
    commitsMax: 6,
  },
  performance: {
    name: 'performance',
    suite: cipherSuite(noble, SUITES.performance),
    costly: true,
    sizes: [3, 4, 5],
    commitsMax: 5,
  },
  compliance: {
    name: 'compliance',
    suite: cipherSuite(noble, SUITES.compliance),
    costly: true,
    sizes: [3, 4],
    commitsMax: 4,
  },
}
