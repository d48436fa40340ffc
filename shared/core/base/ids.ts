/**
 * Branded identifiers and counters. Owns the types and their lengths; owns no encoding (see
 * `wire/codec.ts`) and no generation (entropy is always an argument).
 */

declare const brand: unique symbol
/** A structural type that only an explicit cast or constructor can produce. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** 32 bytes: hash of the signed genesis entry of a room (ROOM-1). Never parsed. */
export type RoomId = Brand<Uint8Array, 'RoomId'>
/** 16 random bytes, chosen by the device. */
export type DeviceId = Brand<Uint8Array, 'DeviceId'>
/** `name@hub`, ASCII, lower case (ID-1). */
export type AccountName = Brand<string, 'AccountName'>
/** Lower-case A-label without port; the name under which a hub attests accounts. */
export type HubDomain = Brand<string, 'HubDomain'>
/** MLS epoch (RFC 9420 section 8). */
export type Epoch = Brand<bigint, 'Epoch'>
/** Hash(GroupContext), 32 or 48 bytes: unlike the epoch it is unique (ROOM-3). */
export type EpochId = Brand<Uint8Array, 'EpochId'>
/** Position of an entry in the log of one room; the genesis entry has position 0. */
export type LogPosition = Brand<bigint, 'LogPosition'>
/** Index of a leaf in the ratchet tree (RFC 9420 section 4.1.1). */
export type LeafIndex = Brand<number, 'LeafIndex'>
/** Counter of message keys of one sender, lane and epoch (RFC 9420 section 9.1). */
export type Generation = Brand<number, 'Generation'>
/** Independent chain of one sender: 0 the engine, 1 the service worker (KEY-6). */
export type Lane = Brand<number, 'Lane'>
/** Counter of room ownership; grows with every new owner. */
export type Term = Brand<bigint, 'Term'>
/** Number that a device gives a request, and that the answer repeats; unique in a session. */
export type RequestId = Brand<number, 'RequestId'>
/** Milliseconds since 1970-01-01T00:00:00Z. */
export type TimeMs = Brand<number, 'TimeMs'>

export const ROOM_ID_LENGTH = 32
export const DEVICE_ID_LENGTH = 16
export const ENTRY_HASH_LENGTH = 32
/** Room of frames that belong to the session and not to a room: 32 zero bytes. Never written to. */
export const NO_ROOM = new Uint8Array(ROOM_ID_LENGTH) as RoomId

export const epoch = (value: bigint): Epoch => value as Epoch
export const logPosition = (value: bigint): LogPosition => value as LogPosition
export const leafIndex = (value: number): LeafIndex => value as LeafIndex
export const generation = (value: number): Generation => value as Generation
export const lane = (value: number): Lane => value as Lane
export const timeMs = (value: number): TimeMs => value as TimeMs
export const requestId = (value: number): RequestId => value as RequestId
