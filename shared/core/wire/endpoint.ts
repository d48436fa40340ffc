/**
 * Where a hub is found under its origin (WIRE-8). Owns the two paths; what answers there is the
 * hub's, and who dials is the device's.
 */

/** Sessions, over WebTransport and over WebSocket. */
export const SESSION_PATH = '/v1/session'

/** The document that tells a device how to dial. */
export const DESCRIPTION_PATH = '/.well-known/kalandra'
