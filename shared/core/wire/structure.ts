/**
 * The common frame of every signed or stored structure (WIRE-6): it begins with its label and a
 * uint16 version and ends with extensions. Owns exactly that; the fields between are the caller's.
 */
import { bool, type Codec, type Infer, mapped, opaque, struct } from '#core/wire/codec.ts'
import { u16, utf8, vector } from '#core/wire/codec.ts'

/** The version that this code writes and reads. */
export const STRUCTURE_VERSION = 1

/** Label and version at the head of a structure; another label or version is refused. */
export function format(label: string): Codec<typeof STRUCTURE_VERSION> {
  const head = struct({ label: utf8(64), version: u16 })
  return mapped(head, {
    to: () => ({ label, version: STRUCTURE_VERSION }),
    from: (read: Infer<typeof head>) =>
      read.label === label && read.version === STRUCTURE_VERSION ? STRUCTURE_VERSION : null,
  })
}

const extensionList = vector(struct({ id: u16, critical: bool, content: opaque(1_024) }), 16)
export type Extensions = Infer<typeof extensionList>

/**
 * Extensions at the end of a structure. None is defined yet, so a critical one is refused and
 * the others are kept for the signature and otherwise ignored.
 */
export const extensions: Codec<Extensions> = mapped(extensionList, {
  to: (list: Extensions) => list,
  from: (list: Extensions) => list.some((extension) => extension.critical) ? null : list,
})

export const NO_EXTENSIONS: Extensions = []
