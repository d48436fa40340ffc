/**
 * The host's clock for what is shown to a person. Owns reading it; owns no words.
 */

/** Milliseconds since 1970, as this device sees it. */
export const nowMs = (): number => Date.now()
