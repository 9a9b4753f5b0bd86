/**
 * Replicas under one stream of requests, in virtual time. A request that its client waits for goes to a replica at
 * once and ends with it. Requests in the background queue for all replicas, by priority and then in turns of their
 * clients (`src/scheduler/fair-queue.ts`), and go on elsewhere when their replica is gone.
 */
import { BasinError } from '../../src/errors.js'
import { refuseIfFull } from '../../src/generation/client/request-stream.js'
import { FairQueue } from '../../src/scheduler/fair-queue.js'
import { Draws } from '../../src/train/tasks/draws.js'
import { Agenda } from './agenda.js'
import {
  LOOK_SECONDS,
  type Recommendation,
  recommended,
  scaled,
  type ScalingRule,
} from './autoscaler.js'
import type { SimulatedRequest } from './jobs.js'
import type { Ended, Left, Replica, ReplicaWork } from './replica.js'
import { Distribution } from './statistics.js'

export const dispatches = ['random', 'round-robin', 'two-choices'] as const

/** How a balancer chooses a replica; `two-choices`: of two at random the one with fewer requests. */
export type Dispatch = (typeof dispatches)[number]

export interface FleetOptions {
  replicas: number
  seed: number
  dispatch: Dispatch
  /** `--max-queue` of each replica. */
  maxQueue: number
  /** Slots of a replica, for its admission. */
  slots: number
  /** Background requests that a replica takes at a time. */
  backgroundPlaces: number
  /** Mean seconds until a replica is killed; Infinity: none is. */
  failureSeconds: number
  /** Until it has been noticed that a replica is gone, and its background requests queue again. */
  noticeSeconds: number
  /** From the start of a replica until it takes requests. */
  startSeconds: number
  /** How long a replica that is removed may still take for requests that clients wait for. */
  drainSeconds: number
  /** Absent: the number of replicas stays. */
  scaling?: ScalingRule
}

/** What became of the requests of one kind. */
export interface KindReport {
  arrived: number
  finished: number
  right: number
  refused: number
  /** Ended with their replica. */
  lost: number
  /** Of those that finished. */
  steps: number
  queue: Distribution
  latency: Distribution
}

export interface FleetReport {
  kinds: ReadonlyMap<string, KindReport>
  /** Of all requests. */
  queue: Distribution
  latency: Distribution
  /** From the first arrival to the last end. */
  seconds: number
  /** Of all replicas together, while they took requests or drained. */
  replicaSeconds: number
  work: ReplicaWork
  /** Steps that were computed and are in no answer, because a replica was gone. */
  lostSteps: number
  /** Background requests that went on elsewhere. */
  moved: number
  failures: number
  mostReplicas: number
}

/** Sources of the agenda before those of the replicas. */
const ARRIVAL = 0
const FAILURE = 1
const LOOK = 2
const RETURN = 3
const START = 4
const REPLICAS = 5

const DISPATCH_STREAM = 16
const FAILURE_STREAM = 17

interface Place {
  replica: Replica
  since: number
  state: 'ready' | 'draining' | 'gone'
  /** When a draining replica ends. */
  until: number
  background: number
  /** Its place among those that take requests; -1 where it takes none. */
  readyAt: number
}

export class Fleet {
  private readonly agenda = new Agenda()
  private readonly places: Place[] = []
  /** Numbers of the replicas that take requests. */
  private readonly ready: number[] = []
  /** By priority, the lowest number first. */
  private readonly background = new Map<number, FairQueue<SimulatedRequest>>()
  /** Replicas with a place for a background request. */
  private readonly withPlace = new Set<number>()
  private readonly busy = new Set<number>()
  private readonly returning: { at: number; job: SimulatedRequest }[] = []
  private readonly starting: number[] = []
  private readonly history: Recommendation[] = []
  private readonly dispatchDraws: Draws
  private readonly failureDraws: Draws
  private readonly kinds = new Map<string, KindReport>()
  private readonly queue = new Distribution()
  private readonly latency = new Distribution()
  private readonly total: ReplicaWork = { busy: 0, steps: 0, slotSeconds: 0 }
  private removedAt = -Infinity
  private replicaSeconds = 0
  private lostSteps = 0
  private moved = 0
  private failures = 0
  private mostReplicas = 0
  private next = 0
  private open = 0
  private lastEnd = 0

  constructor(
    private readonly options: FleetOptions,
    private readonly newReplica: () => Replica,
  ) {
    this.dispatchDraws = new Draws(options.seed, DISPATCH_STREAM)
    this.failureDraws = new Draws(options.seed, FAILURE_STREAM)
    for (let i = 0; i < options.replicas; i++) this.start()
  }

  /** How many replicas compute a step at this moment. */
  get stepping(): number {
    return this.busy.size
  }

  /** Takes requests as they come, and returns when the last of them has ended. */
  async run(jobs: Iterator<SimulatedRequest, undefined>): Promise<FleetReport> {
    const { agenda, options } = this
    let coming = jobs.next().value
    if (coming) agenda.set(ARRIVAL, coming.arrivedAt)
    this.scheduleFailure()
    if (options.scaling) agenda.set(LOOK, LOOK_SECONDS)
    while (coming || this.open > 0) {
      const source = agenda.take()
      if (source === undefined) throw new RangeError('requests wait, and nothing is to happen')
      if (source >= REPLICAS) await this.proceed(source - REPLICAS)
      else if (source === ARRIVAL) {
        if (coming) this.arrive(coming)
        coming = jobs.next().value
        if (coming) agenda.set(ARRIVAL, coming.arrivedAt)
      } else if (source === FAILURE) await this.fail()
      else if (source === LOOK) await this.look()
      else if (source === RETURN) this.takeReturned()
      else this.takeStarted()
    }
    return this.report()
  }

  private kindReport({ kind }: SimulatedRequest): KindReport {
    let report = this.kinds.get(kind.name)
    if (!report) {
      const counts = { arrived: 0, finished: 0, right: 0, refused: 0, lost: 0, steps: 0 }
      report = { ...counts, queue: new Distribution(), latency: new Distribution() }
      this.kinds.set(kind.name, report)
    }
    return report
  }

  private arrive(job: SimulatedRequest): void {
    this.kindReport(job).arrived++
    this.open++
    if (job.kind.background) this.enqueue(job)
    else this.dispatch(job)
  }

  /** To a replica, which may refuse it. */
  private dispatch(job: SimulatedRequest): void {
    const number = this.choose()
    const place = number === undefined ? undefined : this.places[number]
    if (number === undefined || !place || this.isFull(place.replica, job)) {
      this.kindReport(job).refused++
      this.end()
      return
    }
    this.hand(number, place, job)
  }

  private isFull(replica: Replica, { client, kind }: SimulatedRequest): boolean {
    const { maxQueue, slots } = this.options
    // No more requests find their queue full than wait.
    if (replica.waiting < maxQueue) return false
    const next = { client, candidates: kind.budget.candidates, stage: 'waiting' as const }
    try {
      refuseIfFull(replica.streams(), next, slots, maxQueue)
      return false
    } catch (error) {
      if (error instanceof BasinError && error.code === 'queue_full') return true
      throw error
    }
  }

  private choose(): number | undefined {
    const { ready } = this
    const any = (): number | undefined => ready[this.dispatchDraws.below(ready.length)]
    switch (this.options.dispatch) {
      case 'random':
        return any()
      case 'round-robin':
        return ready[this.next++ % ready.length]
      case 'two-choices': {
        const [a, b] = [any(), any()]
        const of = (number: number | undefined) =>
          number === undefined ? Infinity : (this.places[number]?.replica.outstanding ?? Infinity)
        return of(b) < of(a) ? b : a
      }
    }
  }

  private hand(number: number, place: Place, job: SimulatedRequest): void {
    const { now } = this.agenda
    job.dispatchedAt = now
    if (job.kind.background) place.background++
    this.offerPlace(number, place)
    place.replica.submit(job, now)
    this.plan(number, place)
  }

  private enqueue(job: SimulatedRequest): void {
    const priority = job.kind.priority ?? 0
    let queue = this.background.get(priority)
    if (!queue) {
      queue = new FairQueue()
      this.background.set(priority, queue)
    }
    queue.push(job.client, job)
    this.fillPlaces()
  }

  /** Gives background requests to replicas that have a place for one. */
  private fillPlaces(): void {
    for (const number of this.withPlace) {
      const place = this.places[number]
      const job = this.nextInBackground()
      if (!place || !job) return
      this.hand(number, place, job)
    }
  }

  private nextInBackground(): SimulatedRequest | undefined {
    for (const priority of [...this.background.keys()].sort((a, b) => a - b)) {
      const queue = this.background.get(priority)
      const [job] = queue ?? []
      if (!queue || !job) continue
      queue.take(job.client, job)
      return job
    }
    return undefined
  }

  private offerPlace(number: number, place: Place): void {
    const has = place.readyAt >= 0 && place.background < this.options.backgroundPlaces
    // Those that have had a place for longest come first.
    if (!has) this.withPlace.delete(number)
    else this.withPlace.add(number)
  }

  private async proceed(number: number): Promise<void> {
    const place = this.places[number]
    if (!place || place.state === 'gone') return
    const { now } = this.agenda
    if (place.state === 'draining' && (now >= place.until || place.replica.outstanding === 0)) {
      await this.remove(number, place, true)
      return
    }
    this.busy.delete(number)
    const ended = place.replica.proceed(now, this.agenda.timeOf(ARRIVAL))
    for (const each of ended instanceof Promise ? await ended : ended) this.take(each, place)
    this.offerPlace(number, place)
    this.plan(number, place)
    if (this.withPlace.has(number)) this.fillPlaces()
  }

  private plan(number: number, { replica, state, until }: Place): void {
    const { now } = this.agenda
    const { nextAt } = replica
    if (nextAt > now && nextAt < Infinity) this.busy.add(number)
    else this.busy.delete(number)
    // A replica that drains and has nothing left is removed at once.
    const drained = state === 'draining' && replica.outstanding === 0
    const at = drained ? now : state === 'draining' ? Math.min(nextAt, until) : nextAt
    this.agenda.set(REPLICAS + number, at)
  }

  private take({ job, right, steps }: Ended, place: Place): void {
    const { now } = this.agenda
    const report = this.kindReport(job)
    if (job.queueSeconds === undefined) throw new RangeError(`request ${job.id} was not admitted`)
    report.finished++
    report.steps += steps
    if (right) report.right++
    if (job.kind.background) place.background--
    const queued = Math.max(0, job.queueSeconds)
    for (const each of [this.queue, report.queue]) each.add(queued)
    for (const each of [this.latency, report.latency]) each.add(now - job.arrivedAt)
    this.lastEnd = now
    this.end()
  }

  private end(): void {
    this.open--
  }

  private start(): void {
    const number = this.places.length
    const { now } = this.agenda
    const readyAt = this.ready.push(number) - 1
    const place: Place = {
      replica: this.newReplica(),
      since: now,
      state: 'ready',
      until: Infinity,
      background: 0,
      readyAt,
    }
    this.places.push(place)
    this.offerPlace(number, place)
    this.mostReplicas = Math.max(this.mostReplicas, this.ready.length)
  }

  /** It takes no request any more. */
  private withdraw(number: number, place: Place): void {
    if (place.readyAt < 0) return
    const last = this.ready.pop() as number
    if (last !== number) {
      this.ready[place.readyAt] = last
      const other = this.places[last]
      if (other) other.readyAt = place.readyAt
    }
    place.readyAt = -1
    this.withPlace.delete(number)
  }

  private async remove(number: number, place: Place, saves: boolean): Promise<void> {
    const { now } = this.agenda
    this.withdraw(number, place)
    const left = place.replica.leave(now, saves)
    for (const each of left instanceof Promise ? await left : left) this.lose(each, saves)
    place.state = 'gone'
    this.busy.delete(number)
    this.agenda.set(REPLICAS + number, Infinity)
    this.account(place)
  }

  private account({ replica, since }: Place): void {
    const { busy, slotSeconds, steps } = replica.work
    this.replicaSeconds += this.agenda.now - since
    this.total.busy += busy
    this.total.steps += steps
    this.total.slotSeconds += slotSeconds
  }

  private lose({ job, kept, steps }: Left, noticed: boolean): void {
    const { now } = this.agenda
    this.lostSteps += steps - (job.kind.background ? (kept?.steps ?? 0) : 0)
    if (!job.kind.background) {
      this.kindReport(job).lost++
      this.lastEnd = now
      this.end()
      return
    }
    this.moved++
    job.kept = kept
    job.moves++
    this.returning.push({ at: now + (noticed ? 0 : this.options.noticeSeconds), job })
    this.scheduleReturn()
  }

  private scheduleReturn(): void {
    const at = this.returning.reduce((least, each) => Math.min(least, each.at), Infinity)
    this.agenda.set(RETURN, at)
  }

  private takeReturned(): void {
    const { now } = this.agenda
    for (let i = this.returning.length - 1; i >= 0; i--) {
      const each = this.returning[i]
      if (!each || each.at > now) continue
      this.returning.splice(i, 1)
      this.enqueue(each.job)
    }
    this.scheduleReturn()
  }

  private scheduleFailure(): void {
    const { failureSeconds, replicas } = this.options
    if (failureSeconds === Infinity) return
    const mean = failureSeconds / Math.max(replicas, this.ready.length)
    this.agenda.set(FAILURE, this.agenda.now - mean * Math.log(this.failureDraws.share()))
  }

  /** A replica is killed, and another one started in its place. */
  private async fail(): Promise<void> {
    const number = this.ready[this.failureDraws.below(this.ready.length)]
    const place = number === undefined ? undefined : this.places[number]
    if (number !== undefined && place) {
      this.failures++
      await this.remove(number, place, false)
      this.startLater(1)
    }
    this.scheduleFailure()
  }

  private startLater(count: number): void {
    const at = this.agenda.now + this.options.startSeconds
    for (let i = 0; i < count; i++) this.starting.push(at)
    this.agenda.set(START, this.starting[0] as number)
  }

  private takeStarted(): void {
    const { now } = this.agenda
    while ((this.starting[0] ?? Infinity) <= now) {
      this.starting.shift()
      this.start()
    }
    this.agenda.set(START, this.starting[0] ?? Infinity)
    this.fillPlaces()
  }

  /** What the autoscaler does every so many seconds. */
  private async look(): Promise<void> {
    const { scaling } = this.options
    const { now } = this.agenda
    if (!scaling) return
    const present = this.ready.length + this.starting.length
    const waiting = this.ready.reduce(
      (sum, number) => sum + (this.places[number]?.replica.waiting ?? 0),
      this.inBackground,
    )
    const replicas = recommended(scaling, present, waiting / Math.max(1, this.ready.length))
    this.history.push({ at: now, replicas })
    const wanted = scaled(scaling, present, this.history, now, this.removedAt)
    if (wanted > present) this.startLater(wanted - present)
    for (let i = present; i > wanted; i--) await this.drain()
    if (wanted < present) this.removedAt = now
    this.agenda.set(LOOK, now + LOOK_SECONDS)
  }

  private get inBackground(): number {
    let waiting = 0
    for (const queue of this.background.values()) waiting += queue.size
    return waiting
  }

  /** The replica that was started last takes no request any more, and goes when it has none. */
  private async drain(): Promise<void> {
    const number = this.ready.at(-1)
    const place = number === undefined ? undefined : this.places[number]
    if (number === undefined || !place) return
    this.withdraw(number, place)
    if (place.replica.outstanding === 0) {
      await this.remove(number, place, true)
      return
    }
    place.state = 'draining'
    place.until = this.agenda.now + this.options.drainSeconds
    this.plan(number, place)
  }

  private report(): FleetReport {
    for (const place of this.places) if (place.state !== 'gone') this.account(place)
    return {
      kinds: this.kinds,
      queue: this.queue,
      latency: this.latency,
      seconds: this.lastEnd,
      replicaSeconds: this.replicaSeconds,
      work: this.total,
      lostSteps: this.lostSteps,
      moved: this.moved,
      failures: this.failures,
      mostReplicas: this.mostReplicas,
    }
  }
}
