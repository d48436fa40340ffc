/**
 * The invariants of the simulation by name, each with what it says, and the error that a broken one
 * ends a run with. Owns no check: those of every tick are `watch.ts`, those of the end
 * `ending*.ts`.
 */

/** Each with what it says. */
export const INVARIANTS = {
  NoFault: 'neither hub nor device meets an error of its own',
  LogIsValid: 'every stored entry has the next position, chains, and keeps the rules of its kind',
  EntriesAreDurable: 'nobody is told of a position that is not on the disk of the hub',
  OneOrder: 'what a device has of a log is the beginning of the log',
  NoRoomBreaks: 'no device gives up a room while the hub is honest',
  FinalStays: 'the last final epoch of a device never goes back',
  SameEpochSameSecrets: 'who is in an epoch has its secrets, the same as all others',
  OnlyMembersHaveSecrets: 'nobody has secrets of an epoch without a leaf in it, or of a room left',
  SecretsAreWiped: 'secrets of an epoch, a commit or a Welcome that is over are zeros in memory',
  NothingIsLeft: 'a store holds no secrets of what is over',
  NoKeyReuse: 'no device sends two frames under one generation of an epoch',
  StoredBeforeSent: 'a device sends no frame and no commit that its store would not bring back',
  GenerationsOnce: 'no generation of a chain stands twice in the log',
  Converges: 'when faults end, all members come to the same state, and outboxes are empty',
  LetsIn: 'when faults end, who has a new link of a room comes in',
  Named: 'a member has proof of everybody who is in its epochs, and of nobody else',
  Answered: 'each command is answered, once',
  DeliveredOnce: 'each message is delivered once, in order, to all who were members',
  TrueNames: 'a message is shown as who signed it said it, and nothing that names others',
  Readable: 'who is a member at the end has read all that honest members said since it came in',
  HubRebuilds: 'what the hub has stored of a group is what its log says',
  HubForgets: 'the hub holds nothing of a session, a request or a write that is over',
  HubStaysSmall: 'rooms in the memory of the hub are no larger than their logs and limits say',
} as const
export type InvariantName = keyof typeof INVARIANTS

/** A rule was broken. */
export class Violation extends Error {
  readonly invariant: InvariantName

  constructor(invariant: InvariantName, what: string) {
    super(`${invariant}: ${what} (${INVARIANTS[invariant]})`)
    this.invariant = invariant
  }
}

/** A violation where it does not hold. */
export function must(
  invariant: InvariantName,
  holds: boolean,
  what: () => string,
): asserts holds {
  if (!holds) throw new Violation(invariant, what())
}
