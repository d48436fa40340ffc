/** The engines that the tests of interoperation run against each other. Owns the list. */
import { createCoreCryptoPeer } from './core-crypto-peer.ts'
import { createKalandraPeer } from './kalandra-peer.ts'
import { clientName, type MlsPeer } from './peer.ts'
import { createTsMlsPeer } from './ts-mls-peer.ts'

const ENGINES = {
  kalandra: createKalandraPeer,
  'ts-mls': createTsMlsPeer,
  'core-crypto': createCoreCryptoPeer,
} as const

export type EngineName = keyof typeof ENGINES

export const ENGINE_NAMES = Object.keys(ENGINES) as readonly EngineName[]

/** Every two different engines, in both orders. */
export const PAIRS: readonly (readonly [EngineName, EngineName])[] = ENGINE_NAMES.flatMap((one) =>
  ENGINE_NAMES.filter((other) => other !== one).map((other) => [one, other] as const)
)

/** The client with number `device` on an engine. */
export function createPeer(engine: EngineName, device: number): Promise<MlsPeer> {
  return ENGINES[engine](clientName(device))
}
