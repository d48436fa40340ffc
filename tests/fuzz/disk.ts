/**
 * A ratchet tree as it is stored, node by node, each change written after the one before. Owns the
 * stored nodes; what comes back is judged by `restore.ts`.
 */
import type { CipherSuite } from '#core/mls/cipher-suite.ts'
import { changedNodes, type RatchetTree, treeOfNodes } from '#core/mls/ratchet-tree.ts'

/** The nodes of one tree, as they were written last. */
export class Disk {
  readonly #nodes = new Map<number, Uint8Array>()
  #written: RatchetTree | null = null

  /** Writes what has changed since the last time. */
  write(tree: RatchetTree): void {
    for (const { node, bytes } of changedNodes(this.#written, tree).nodes) {
      if (bytes === null) this.#nodes.delete(node)
      else this.#nodes.set(node, bytes.slice())
    }
    this.#written = tree
  }

  /** What a start after the last write finds. */
  read(suite: CipherSuite, leafWidth: number | null): RatchetTree | null {
    const nodes = [...this.#nodes].map(([node, bytes]) => ({ node, bytes: bytes.slice() }))
    const tree = leafWidth === null ? null : treeOfNodes(suite, leafWidth, nodes)
    this.#written = tree
    return tree
  }
}
