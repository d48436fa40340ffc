/**
 * Messages that stand in a room's log more than once (CONTENT-4). Owns the memory of the last ids;
 * what is shown of them is `timeline.ts`.
 */
import { equalBytes } from '#core/base/bytes.ts'
import { LIMITS } from '#core/base/limits.ts'
import type { SaidMessage } from '#core/device/state.ts'
import type { Turn } from '#core/device/turn.ts'

/**
 * Whether a message is none of the last ones; it is remembered as one, and the oldest is forgotten.
 * What was said before a restart is new again.
 */
export function isNew(turn: Turn, key: string, message: SaidMessage): boolean {
  const said = turn.room(key)?.said ?? []
  if (said.some(({ messageId }) => equalBytes(messageId, message.messageId))) return false
  turn.setRoom(key, { said: [...said, message].slice(-LIMITS.recentMessagesMax) })
  return true
}
