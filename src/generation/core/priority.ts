/** The priority of worker threads. */
import { setPriority } from 'node:os'

/** Gives the threads a third of the weight of others, so that no other program starves the engine. */
const ENGINE_NICENESS = 5
/** Texts are turned to tokens after everything else where cores are scarce. */
const TEXT_NICENESS = 10

/**
 * Lowers the priority of this thread and of those that it starts, so that the server's thread answers in
 * time where cores are scarce. On Linux only: elsewhere a priority is that of the whole process.
 */
function lowerPriority(niceness: number): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(niceness)
  } catch {
    // A sandbox may forbid it; then replies come later under load.
  }
}

export function yieldToServer(): void {
  lowerPriority(ENGINE_NICENESS)
}

export function yieldToEngine(): void {
  lowerPriority(TEXT_NICENESS)
}
