/**
 * A replica that jumps over steps in which nothing changes. The scheduler of the server (`src/scheduler/`) is asked
 * when a request comes, begins, changes the number of its candidates in descent or ends; until the next such moment
 * all rows stay what they are, so that many steps are one multiplication. How far an answer has to go is known
 * beforehand (`profiles.ts`).
 *
 * What is approximated: a descent that shares its slots with other candidates of its answer costs the moves of each
 * round, not those of each candidate; an answer goes on from a checkpoint as though it had kept its present pace
 * since then; and a round that is cut short is not completed before the next phase.
 */
import { PAGE_POSITIONS } from '../../src/energy/pages.js'
import { Scheduler } from '../../src/scheduler/scheduler.js'
import { orderOf } from '../../src/generation/core/requests/request-table.js'
import type { SimulatedRequest } from './jobs.js'
import type { Slowdown } from './modelled-engine.js'
import { phaseAt, type Profile, stepsBefore } from './profiles.js'
import { stepSeconds, type Timing } from './recording.js'
import {
  type Ended,
  type Left,
  leftUnread,
  PREFILL_CHUNK,
  type Replica,
  type ReplicaOptions,
  type ReplicaWork,
  streamOf,
  type Waiting,
} from './replica.js'

interface TakenRequest {
  job: SimulatedRequest
  profile: Profile
  stage: Waiting['stage']
  submittedAt: number
  startedAt: number
  /** Which phase it is in, and its steps in it. */
  phase: number
  steps: number
  /** Rows that it has in the present jump. */
  rows: number
  /** Seconds in which it had slots. */
  seconds: number
}

interface Jump {
  from: number
  steps: number
  /** Of a step. */
  seconds: number
  /** Before the first step: answers that begin or were read, candidates that were moved. */
  before: number
  rows: number
}

export class JumpingReplica implements Replica {
  readonly work: ReplicaWork = { busy: 0, steps: 0, slotSeconds: 0 }
  nextAt = Infinity
  private readonly scheduler: Scheduler
  private readonly running = new Map<number, TakenRequest>()
  private received: SimulatedRequest[] = []
  private jump: Jump | undefined

  constructor(
    private readonly timing: Timing,
    /** By the name of a kind, and by board. */
    private readonly profiles: ReadonlyMap<string, readonly Profile[]>,
    private readonly options: ReplicaOptions,
    private readonly slowdown: Slowdown = () => 1,
  ) {
    const { slots } = options
    const capacity = { slots, contexts: 2 * slots, pages: 2 * slots, pageSize: PAGE_POSITIONS }
    this.scheduler = new Scheduler(capacity, PREFILL_CHUNK)
  }

  get outstanding(): number {
    return this.received.length + this.running.size
  }

  get waiting(): number {
    return this.received.length + this.scheduler.waiting
  }

  *streams(): Generator<Waiting> {
    for (const { job, stage } of this.running.values()) yield streamOf(job, stage)
    for (const job of this.received) yield streamOf(job, 'waiting')
  }

  /** It is taken at the end of the step that is under way. */
  submit(job: SimulatedRequest, now: number): void {
    this.received.push(job)
    const { jump } = this
    if (!jump) {
      this.nextAt = now
      return
    }
    jump.steps = Math.min(jump.steps, Math.max(1, stepsUntil(jump, now)))
    this.nextAt = Math.max(now, endOf(jump))
  }

  proceed(now: number): readonly Ended[] {
    const { jump } = this
    const ended = jump ? this.land(jump) : []
    if (ended.length > 0 || this.received.length > 0 || this.running.size > 0)
      this.go(now, ended.length)
    else this.rest()
    return ended
  }

  leave(now: number, saves: boolean): readonly Left[] {
    const { jump } = this
    // A step that is under way is lost.
    if (jump) {
      jump.steps = Math.min(jump.steps, Math.max(0, stepsUntil(jump, now) - 1))
      for (const running of this.running.values()) running.steps += running.rows * jump.steps
      this.account(jump, Math.max(0, now - jump.from))
    }
    const left = [...this.running.values()].map((each): Left => {
      const steps = stepsOf(each)
      return { job: each.job, steps, kept: this.kept(each, steps, now, saves) }
    })
    const unread = this.received
    this.running.clear()
    this.received = []
    this.rest()
    return [...left, ...unread.map(leftUnread)]
  }

  private rest(): void {
    this.jump = undefined
    this.nextAt = Infinity
  }

  private kept(
    each: TakenRequest,
    steps: number,
    now: number,
    saves: boolean,
  ): SimulatedRequest['kept'] {
    const { job, startedAt } = each
    const { checkpointSeconds } = this.options
    if (!job.kind.background || each.stage === 'waiting') return job.kept
    if (saves) return { steps }
    if (checkpointSeconds === 0) return undefined
    const since = (now - startedAt) % checkpointSeconds
    const pace = this.jump ? each.rows / this.jump.seconds : 0
    const before = Math.max(job.kept?.steps ?? 0, Math.floor(steps - pace * since))
    return now - startedAt < checkpointSeconds ? job.kept : { steps: before }
  }

  private account({ rows, seconds, steps }: Jump, took: number): void {
    this.work.busy += took
    this.work.steps += rows * steps
    this.work.slotSeconds += rows * steps * seconds
  }

  /** The steps of a jump have been taken. */
  private land(jump: Jump): Ended[] {
    const { steps } = jump
    const took = endOf(jump) - jump.from
    this.account(jump, took)
    const ended: Ended[] = []
    for (const [requestId, each] of this.running) {
      if (each.rows === 0) continue
      const phase = each.profile.phases[each.phase]
      each.steps = Math.min(each.steps + each.rows * steps, phase?.steps ?? 0)
      each.seconds += took
      const maxSeconds = each.job.kind.budget.maxSeconds ?? Infinity
      const isOver = each.seconds >= maxSeconds
      if (phase && each.steps < phase.steps && !isOver) continue
      if (!isOver && each.phase + 1 < each.profile.phases.length) this.nextPhase(requestId, each)
      else {
        this.scheduler.release(requestId)
        this.running.delete(requestId)
        const whole = phase && each.steps >= phase.steps
        const right = each.profile.right && whole === true
        ended.push({ job: each.job, right, steps: stepsOf(each) })
      }
    }
    return ended
  }

  private nextPhase(requestId: number, each: TakenRequest): void {
    each.phase++
    each.steps = 0
    this.scheduler.takeTurns(requestId, upTo(widthOf(each)))
  }

  /** Takes what has come, asks the scheduler, and jumps to the next moment at which it has to be asked again. */
  private go(now: number, ended: number): void {
    for (const job of this.received) this.take(job, now)
    this.received = []
    const plan = this.scheduler.schedule()
    for (const { requestId } of plan.admitted) this.admit(requestId, now)
    for (const each of this.running.values()) each.rows = 0
    for (const { requestId } of plan.descend) {
      const each = this.running.get(requestId)
      if (each && each.rows < widthOf(each)) each.rows++
    }
    for (const { requestId } of plan.begin) this.begin(requestId)
    let [rows, sharing] = [0, 0]
    for (const each of this.running.values()) {
      rows += each.rows
      const inTurns = each.rows < widthOf(each) && each.job.kind.budget.restarts !== undefined
      if (inTurns) sharing += each.rows
    }
    if (rows === 0) {
      this.rest()
      return
    }
    const slowdown = this.slowdown()
    const { answer, move } = this.timing
    const begun = new Set(plan.begin.map(({ requestId }) => requestId))
    const returned = plan.moveIn.filter(({ requestId }) => !begun.has(requestId))
    const moves = plan.moveOut.length + returned.length
    // In a round of more candidates than slots every row makes way for another.
    const seconds = slowdown * (stepSeconds(this.timing, rows) + 2 * sharing * move)
    const before = slowdown * (ended * answer + moves * move)
    const steps = this.stepsToChange(plan.begin.length > 0, seconds)
    this.jump = { from: now, steps, seconds, before, rows }
    this.nextAt = endOf(this.jump)
  }

  private take(job: SimulatedRequest, now: number): void {
    const { budget, name } = job.kind
    const profile = this.profiles.get(name)?.[job.board]
    if (!profile) throw new RangeError(`there is no profile of ${name} on board ${job.board}`)
    const order = orderOf(budget)
    const context = [0]
    const needs = {
      client: job.client,
      context,
      positions: PAGE_POSITIONS,
      candidates: budget.candidates,
    }
    const requestId = this.scheduler.submit({ ...needs, ...order })
    const reached = phaseAt(profile, job.kept?.steps ?? 0)
    this.running.set(requestId, {
      job,
      profile,
      stage: 'waiting',
      submittedAt: now,
      startedAt: now,
      ...reached,
      rows: 0,
      seconds: 0,
    })
  }

  private admit(requestId: number, now: number): void {
    const each = this.running.get(requestId)
    if (!each) throw new RangeError(`request ${requestId} is not known`)
    const { job } = each
    each.stage = 'running'
    each.startedAt = now
    job.queueSeconds ??= job.dispatchedAt - job.arrivedAt + now - each.submittedAt
  }

  private begin(requestId: number): void {
    const each = this.running.get(requestId)
    if (each && widthOf(each) < each.job.kind.budget.candidates)
      this.scheduler.takeTurns(requestId, upTo(widthOf(each)))
  }

  /**
   * Steps until an answer ends or changes its width. 1 where an answer has just begun, which may not need all of
   * its slots, and where clients take turns because there are fewer slots than clients.
   */
  private stepsToChange(begins: boolean, seconds: number): number {
    if (begins) return 1
    let steps = Infinity
    const served = new Set<string>()
    const starving: string[] = []
    for (const each of this.running.values()) {
      if (each.rows === 0) {
        if (each.stage === 'running') starving.push(each.job.client)
        continue
      }
      served.add(each.job.client)
      const { budget } = each.job.kind
      const left = (each.profile.phases[each.phase]?.steps ?? 0) - each.steps
      const time = (budget.maxSeconds ?? Infinity) - each.seconds
      steps = Math.min(steps, Math.ceil(left / each.rows), Math.ceil(time / seconds))
    }
    const takesTurns = starving.some((client) => !served.has(client))
    return takesTurns ? 1 : Math.max(1, steps)
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

const endOf = ({ before, from, seconds, steps }: Jump): number => from + before + steps * seconds

/** Whole steps that are over at `now`, and the one that is under way. */
const stepsUntil = ({ before, from, seconds }: Jump, now: number): number =>
  Math.ceil((now - from - before) / seconds)

const widthOf = ({ phase, profile }: TakenRequest): number => profile.phases[phase]?.width ?? 0

/** Of all phases until now. */
const stepsOf = ({ phase, profile, steps }: TakenRequest): number =>
  stepsBefore(profile, phase) + steps
