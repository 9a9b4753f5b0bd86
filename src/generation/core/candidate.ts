/** A candidate of an answer: the slot that it descends in, and how far its present descent has come. */
import type { StopReason } from '../../refine/budget.js'
import type { RestartReason, Start } from '../../refine/restarts.js'
import type { Progress } from '../../refine/stop.js'

export interface Candidate {
  readonly slot: number
  progress: Progress
  /** Progress with the closing evaluation; descent goes on from `progress`, without it. */
  closed: Progress | undefined
  stopped: StopReason | undefined
  /** Number of its descent among those of the answer: its own index until it begins anew. */
  descent: number
  /** Where this descent began. */
  start: Start
  /** Why this descent is over, so that another begins before its next step. */
  over: RestartReason | undefined
}
