/**
 * A replica as a flow, for fleets of thousands: answers progress at a rate instead of in steps. In a round each
 * candidate of each answer steps once; where they want more slots than there are, a round takes as many times longer.
 * So all answers progress equally, in rounds, and the end of each is known from the rounds that it needs: processor
 * sharing, with one event for each phase of an answer.
 *
 * What is approximated, beyond a jumping replica: slots are shared by candidates in descent and not by clients, and
 * a request is admitted while there are contexts. Both hold where a replica has many clients with few requests each;
 * a client that alone asks for more than the slots would queue, and here it slows down.
 */
import { FairQueue } from '../../src/scheduler/fair-queue.js'
import { Agenda } from './agenda.js'
import type { SimulatedRequest } from './jobs.js'
import { type Profile, phaseAt, stepsBefore } from './profiles.js'
import { stepSeconds, type Timing } from './recording.js'
import {
  type Ended,
  type Left,
  leftUnread,
  type Replica,
  type ReplicaOptions,
  type ReplicaWork,
  streamOf,
  type Waiting,
} from './replica.js'

interface TakenRequest {
  job: SimulatedRequest
  profile: Profile
  phase: number
  /** Steps in this phase before `since`, and the round at which that was. */
  steps: number
  since: number
  startedAt: number
}

export class FlowingReplica implements Replica {
  readonly work: ReplicaWork = { busy: 0, steps: 0, slotSeconds: 0 }
  nextAt = Infinity
  /** By place: requests that are admitted. */
  private readonly running: (TakenRequest | undefined)[] = []
  private readonly freePlaces: number[] = []
  private readonly queue = new FairQueue<SimulatedRequest>()
  /** When phases end, in rounds; and when answers do whose time is limited, in seconds. */
  private readonly phaseEnds = new Agenda()
  private readonly deadlines = new Agenda()
  /** Rounds until `at`. */
  private rounds = 0
  private at = 0
  /** Candidates in descent. */
  private wanted = 0
  private admitted = 0

  constructor(
    private readonly timing: Timing,
    /** By the name of a kind, and by board. */
    private readonly profiles: ReadonlyMap<string, readonly Profile[]>,
    private readonly options: ReplicaOptions,
  ) {}

  get waiting(): number {
    return this.queue.size
  }

  get outstanding(): number {
    return this.admitted + this.queue.size
  }

  *streams(): Generator<Waiting> {
    for (const each of this.running) if (each) yield streamOf(each.job, 'running')
    for (const job of this.queue) yield streamOf(job, 'waiting')
  }

  submit(job: SimulatedRequest, now: number): void {
    this.flow(now)
    if (this.admitted < 2 * this.options.slots) this.admit(job, now)
    else this.queue.push(job.client, job)
    this.plan(now)
  }

  proceed(now: number): readonly Ended[] {
    this.flow(now)
    const ended: Ended[] = []
    // A phase that ends within the time of a rounding error ends now.
    while (this.phaseEnds.earliest <= this.rounds + ROUNDING) {
      const place = this.phaseEnds.take() as number
      const end = this.endPhase(place)
      if (end) ended.push(end)
    }
    while (this.deadlines.earliest <= now) {
      const place = this.deadlines.take() as number
      ended.push(this.end(place, false))
    }
    while (this.admitted < 2 * this.options.slots) {
      const [job] = this.queue
      if (!job) break
      this.queue.take(job.client, job)
      this.admit(job, now)
    }
    this.plan(now)
    return ended
  }

  leave(now: number, saves: boolean): readonly Left[] {
    this.flow(now)
    const left = this.running.flatMap((each): Left[] => {
      if (!each) return []
      const steps = this.stepsOf(each)
      return [{ job: each.job, steps, kept: this.kept(each, steps, now, saves) }]
    })
    const unread = [...this.queue].map((job): Left => leftUnread(job))
    this.nextAt = Infinity
    return [...left, ...unread]
  }

  /** Seconds of a round. */
  private get roundSeconds(): number {
    const { slots } = this.options
    const rows = Math.min(this.wanted, slots)
    return stepSeconds(this.timing, rows) * Math.max(1, this.wanted / slots)
  }

  /** Until `now` all went on as it was. */
  private flow(now: number): void {
    const passed = now - this.at
    this.at = now
    if (this.wanted === 0 || passed <= 0) return
    const rounds = passed / this.roundSeconds
    this.rounds += rounds
    this.work.busy += passed
    this.work.steps += rounds * this.wanted
    this.work.slotSeconds += passed * Math.min(this.wanted, this.options.slots)
  }

  private plan(now: number): void {
    const inRounds = Math.max(0, this.phaseEnds.earliest - this.rounds)
    const phaseEnd = inRounds === Infinity ? Infinity : now + inRounds * this.roundSeconds
    this.nextAt = Math.max(now, Math.min(phaseEnd, this.deadlines.earliest))
  }

  private admit(job: SimulatedRequest, now: number): void {
    const profile = this.profiles.get(job.kind.name)?.[job.board]
    if (!profile) throw new RangeError(`no profile of ${job.kind.name} on board ${job.board}`)
    job.queueSeconds ??= now - job.arrivedAt
    const place = this.freePlaces.pop() ?? this.running.length
    const reached = phaseAt(profile, job.kept?.steps ?? 0)
    const running = { job, profile, ...reached, since: this.rounds, startedAt: now }
    this.running[place] = running
    this.admitted++
    this.wanted += widthOf(running)
    this.planPhase(place, running)
    const { maxSeconds } = job.kind.budget
    if (maxSeconds !== undefined) this.deadlines.set(place, now + maxSeconds)
  }

  private planPhase(place: number, { phase, profile, steps }: TakenRequest): void {
    const each = profile.phases[phase]
    if (!each) throw new RangeError('an answer has no such phase')
    // A request waits for the end of the step that is under way: half a step.
    const wait = phase === 0 && steps === 0 ? 0.5 : 0
    this.phaseEnds.set(place, this.rounds + wait + (each.steps - steps) / each.width)
  }

  /** The answer, if it was its last phase. */
  private endPhase(place: number): Ended | undefined {
    const each = this.running[place]
    if (!each) throw new RangeError('no answer is there')
    if (each.phase + 1 === each.profile.phases.length) return this.end(place, each.profile.right)
    this.wanted -= widthOf(each)
    each.phase++
    each.steps = 0
    each.since = this.rounds
    this.wanted += widthOf(each)
    this.planPhase(place, each)
    return undefined
  }

  private end(place: number, right: boolean): Ended {
    const each = this.running[place]
    if (!each) throw new RangeError('no answer is there')
    const steps = this.stepsOf(each)
    this.running[place] = undefined
    this.freePlaces.push(place)
    this.phaseEnds.set(place, Infinity)
    this.deadlines.set(place, Infinity)
    this.wanted -= widthOf(each)
    this.admitted--
    return { job: each.job, right, steps }
  }

  private stepsOf({ phase, profile, since, steps }: TakenRequest): number {
    const { steps: most, width } = profile.phases[phase] ?? { steps: 0, width: 0 }
    const taken = Math.min(most, steps + (this.rounds - since) * width)
    return stepsBefore(profile, phase) + Math.round(taken)
  }

  /** As though it had kept its present pace since the checkpoint. */
  private kept(
    each: TakenRequest,
    steps: number,
    now: number,
    saves: boolean,
  ): SimulatedRequest['kept'] {
    const { job, startedAt } = each
    const { checkpointSeconds } = this.options
    if (!job.kind.background) return undefined
    if (saves) return { steps }
    if (checkpointSeconds === 0) return undefined
    if (now - startedAt < checkpointSeconds) return job.kept
    const pace = widthOf(each) / this.roundSeconds
    const since = (now - startedAt) % checkpointSeconds
    return { steps: Math.max(job.kept?.steps ?? 0, Math.floor(steps - pace * since)) }
  }
}

/** Of a round. */
const ROUNDING = 1e-9

const widthOf = ({ phase, profile }: TakenRequest): number => profile.phases[phase]?.width ?? 0
