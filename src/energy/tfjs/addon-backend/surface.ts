/** The typed surface of the addon's trainer (native/training/register.cc), written once. */

declare const trainerBrand: unique symbol
/** A trainer on the other side: only the addon's functions know what to do with it. */
export interface TrainerHandle {
  readonly [trainerBrand]: true
}

export interface TrainingAddon {
  /** `command` is where the numbers of a call are written. */
  open(threads: number): { handle: TrainerHandle; command: Float64Array }
  /** A new block of memory, by number. */
  take(trainer: TrainerHandle, bytes: number): number
  /** Gives a block back to the system when no view of it is left. */
  drop(trainer: TrainerHandle, block: number): void
  view(trainer: TrainerHandle, block: number): ArrayBuffer
  /** Runs an op on the first `length` numbers of the command. */
  run(trainer: TrainerHandle, op: number, length: number): void
}
