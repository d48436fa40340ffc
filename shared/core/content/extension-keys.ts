/**
 * Keys of the extensions map of MIMI content (CONTENT-3). Owns the one table of them; the values
 * are carried as they are, known or not.
 *
 * Positive integers are assigned by the draft's registry. Negative integers and texts are for
 * private use, by anyone: ours stand in one block of 256 away from the small numbers that others
 * take first, and each still takes three bytes.
 */
export const EXTENSION_KEYS = {
  /** Text: URI of the sender, as its leaf says. From the draft; Kalandra requires it. */
  senderUri: 1,
  /** Text: URI of the room. From the draft; Kalandra requires it. */
  roomUri: 2,

  /** Text of 1 to 4,096 bytes. */
  subject: -0x4b01,
  /** Bytes, 32: the message of which this one is the copy for a hidden recipient. */
  bccOf: -0x4b02,
  /** Text: Message-ID of a mail (RFC 5322 section 3.6.4), without angle brackets. */
  rfc5322MessageId: -0x4b03,
  /** Array of texts, oldest first: References of a mail (RFC 5322 section 3.6.4). */
  references: -0x4b04,
  /** Bytes: joins a request of an agent or service with its answers. */
  correlation: -0x4b05,
  /** Unsigned integer: seconds since 1970-01-01T00:00:00Z until which an answer is wanted. */
  replyBy: -0x4b06,
  /** Text: what kind of request this is. */
  requestType: -0x4b07,
} as const

/** Bytes of a text key (draft-ietf-mimi-content, "Extension Fields"). */
export const EXTENSION_KEY_LENGTH_MAX = 255
