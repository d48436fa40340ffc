/**
 * The public face of Kalandra for programs: the facade, its views and its one error.
 */
export { openKalandra, readInvite } from '#sdk/kalandra.ts'
export type { Timers } from '#sdk/device-host.ts'
export type { InvitePreview, Kalandra, KalandraPorts } from '#sdk/kalandra.ts'
export { KalandraError } from '#sdk/errors.ts'
export type { ErrorCode } from '#sdk/errors.ts'
export type * from '#sdk/views.ts'
