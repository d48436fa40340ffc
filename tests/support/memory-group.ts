/**
 * The versions of one room's group and its anchors, in memory: each version whole, so that what a
 * store makes of changes can be held against it. Owns no transaction (see `memory-hub-ports.ts`).
 */
import { toHex } from '#core/base/bytes.ts'
import type { LogPosition } from '#core/base/ids.ts'
import type { CertificatePage, NodePage, StoredAnchor, StoredCertificate } from '#hub/ports.ts'
import type { StoredNode, StoredVersion, VersionHead } from '#hub/ports.ts'

interface WholeVersion extends VersionHead {
  readonly nodes: ReadonlyMap<number, Uint8Array>
  /** By the hash in hex. */
  readonly certificates: ReadonlyMap<string, StoredCertificate>
}

export interface MemoryGroup {
  store(version: StoredVersion): void
  version(at: LogPosition): VersionHead | null
  nodes(page: NodePage): readonly StoredNode[]
  certificates(page: CertificatePage): readonly StoredCertificate[]
  leaveAnchor(anchor: StoredAnchor): 'left' | 'gone'
  anchor(invitation: Uint8Array): StoredAnchor | null
}

export function createMemoryGroup(): MemoryGroup {
  let versions: WholeVersion[] = []
  /** By the invitation in hex. */
  const anchors = new Map<string, StoredAnchor>()
  const prune = () => {
    const named = new Set([...anchors.values()].map(({ version }) => version))
    const newest = versions.at(-1)
    versions = versions.filter((each) => each === newest || named.has(each.position))
  }
  const at = (position: LogPosition) => versions.find((each) => each.position === position)
  return {
    store(version) {
      versions.push(wholeOf(versions.at(-1) ?? null, structuredClone(version)))
      const kept = new Set(version.invitations.map(toHex))
      for (const id of [...anchors.keys()]) if (!kept.has(id)) anchors.delete(id)
      prune()
    },
    version(position) {
      const found = versions.findLast((each) => each.position <= position)
      if (found === undefined) return null
      const { leafWidth, head } = found
      return { position: found.position, leafWidth, head: head.slice() }
    },
    nodes({ version, from, limit, bytesMax }) {
      const all = [...at(version)?.nodes ?? []].map(([node, bytes]) => ({ node, bytes }))
        .filter(({ node }) => node >= from).sort((a, b) => a.node - b.node)
      return pageOf(all, { limit, bytesMax, sizeOf: ({ bytes }) => bytes.length })
    },
    certificates({ version, after, limit, bytesMax }) {
      const behind = after === null ? '' : toHex(after)
      const all = [...at(version)?.certificates ?? []].filter(([hash]) => hash > behind)
        .sort(([a], [b]) => a < b ? -1 : 1).map(([, certificate]) => certificate)
      const sizeOf = ({ certificate }: StoredCertificate) => certificate.length
      return pageOf(all, { limit, bytesMax, sizeOf })
    },
    leaveAnchor(anchor) {
      if (at(anchor.version) === undefined) return 'gone'
      anchors.set(toHex(anchor.invitation), structuredClone(anchor))
      prune()
      return 'left'
    },
    anchor: (invitation) => structuredClone(anchors.get(toHex(invitation)) ?? null),
  }
}

function wholeOf(before: WholeVersion | null, version: StoredVersion): WholeVersion {
  const { position, leafWidth, head } = version
  const nodes = new Map(before?.nodes)
  for (const { node, bytes } of version.nodes) {
    if (bytes === null) nodes.delete(node)
    else nodes.set(node, bytes)
  }
  for (const node of [...nodes.keys()]) if (node > 2 * (leafWidth - 1)) nodes.delete(node)
  const certificates = new Map(before?.certificates)
  for (const hash of version.certificatesDropped) certificates.delete(toHex(hash))
  for (const brought of version.certificates) certificates.set(toHex(brought.hash), brought)
  return { position, leafWidth, head, nodes, certificates }
}

function pageOf<T>(
  items: readonly T[],
  bounds: {
    readonly limit: number
    readonly bytesMax: number
    readonly sizeOf: (item: T) => number
  },
): readonly T[] {
  const page: T[] = []
  let bytes = 0
  for (const item of items.slice(0, bounds.limit)) {
    bytes += bounds.sizeOf(item)
    if (page.length > 0 && bytes > bounds.bytesMax) break
    page.push(structuredClone(item))
  }
  return page
}
