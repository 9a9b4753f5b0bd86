/**
 * The tick: schedule, refine, settle. One loop owns one engine and everything that is asked of it.
 * Knows tokens, energies and text; knows no thread, no transport and no timer: whoever drives it
 * calls `tick` until it returns false, again after a control, and passes on what `report` gives.
 */
import type { EnergyEngine, Reading, StepResult } from '../energy/engine.js'
import { BasinError } from '../errors.js'
import { landscapeOf } from '../model/config.js'
import { planStep } from '../refine/budget.js'
import { answerSeed } from '../refine/candidates.js'
import type { CacheCounts, Plan } from '../scheduler/plan.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Answer, Candidate } from './answer.js'
import { Jobs, type LoopOptions } from './jobs.js'
import type { Control, FromWorker, Job, TickStats } from './protocol.js'
import type { Running } from './running.js'
import { judged, judgeTokens, tokenEnergy } from './judge.js'
import { observeStates, representationOf } from './represent.js'
import { energySummary, readRow, takeTokens } from './settle.js'
import { STEP_ALTERNATIVES, stepEvent } from './step-event.js'
import { Survey } from './survey.js'

/** What happened since the last report. */
export type Report = Omit<Extract<FromWorker, { type: 'events' }>, 'type'>

/** One candidate of one job, with the answer it is a candidate of. */
interface Row {
  running: Running
  answer: Answer
  candidate: Candidate
}

/** Busy ticks after which a survey gets a turn all the same. */
const PATIENCE = 16

const noWork = () => ({
  rows: 0,
  observedTokens: 0,
  seconds: { observe: 0, descend: 0, read: 0 },
})

export class GenerationLoop {
  private readonly jobs: Jobs
  private work = noWork()
  /** In the order of their answers. */
  private readonly surveys = new Set<Survey>()
  /** Busy ticks since one had time for a survey. */
  private waited = 0
  private reported: CacheCounts = { queries: 0, hits: 0, preemptions: 0 }

  constructor(
    private readonly engine: EnergyEngine,
    private readonly tokenizer: Tokenizer,
    options: LoopOptions,
    /** Seconds, monotonic. */
    readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.jobs = new Jobs(engine, tokenizer, options, now)
  }

  /** One batch on the engine. False when there is nothing to do until something is asked. */
  tick(): boolean {
    const plan = this.schedule()
    this.refine(plan)
    const settled = this.settle()
    const busy = settled || plan.admitted.length + plan.observe.length + plan.descend.length > 0
    this.survey(busy)
    return busy || this.surveys.size > 0
  }

  /** Queues a job. Throws what is wrong with it. */
  submit(job: Job): void {
    this.jobs.submit(job)
  }

  /** Acts on a job. Controls of jobs that are gone do nothing; `extend` throws `not_held`. */
  control(id: string, control: Control): void {
    this.jobs.control(id, control)
  }

  /** Lets go of held answers whose time is over, and finishes paused ones. */
  expire(): void {
    this.jobs.expire()
  }

  /** When `expire` next has something to do, in seconds of `now`. */
  get nextExpiry(): number | undefined {
    return this.jobs.nextExpiry
  }

  /** Events since the last call, and the account of the ticks between. */
  report(): Report {
    const { scheduler } = this.jobs
    const cache = { ...scheduler.cache }
    const stats = {
      ...this.work,
      ...scheduler.counts,
      waiting: scheduler.waiting,
      slotsUsed: scheduler.slotsUsed,
      pagesUsed: scheduler.pagesUsed,
      prefixQueries: cache.queries - this.reported.queries,
      prefixHits: cache.hits - this.reported.hits,
      preemptions: cache.preemptions - this.reported.preemptions,
    }
    this.reported = cache
    this.work = noWork()
    return { ...this.jobs.takeEvents(), stats }
  }

  private schedule(): Plan {
    const plan = this.jobs.scheduler.plan()
    for (const sequence of plan.evicted) this.jobs.evict(sequence)
    for (const sequence of plan.preempted) this.jobs.interrupt(sequence, true)
    for (const { ticket } of plan.admitted) {
      const running = this.jobs.of(ticket)
      if (!running) continue
      const queueSeconds = this.now() - running.submittedAt
      this.jobs.emit(running, {
        type: 'started',
        promptTokens: running.promptTokens,
        queueSeconds,
        ...(running.job.echo && { promptText: running.promptText }),
      })
    }
    this.observe(plan)
    for (const sequence of plan.resumed) this.jobs.interrupt(sequence, false)
    this.begin(plan)
    return plan
  }

  private observe(plan: Plan): void {
    const ranges = plan.observe.flatMap(({ ticket, ...range }) => {
      const running = this.jobs.of(ticket)
      return running ? [{ running, ...range }] : []
    })
    const observed = this.call('observe', ranges, () => {
      const rows = ranges.map(({ running, sequence, pages, from, to }) => {
        const tokens = running.context.slice(from, to)
        return { running, from, row: { sequence, pages, tokens, ...(to > from && { from }) } }
      })
      const encoding = rows.filter(({ running }) => running.encoding)
      this.engine.observe(rows.flatMap(({ row, running }) => (running.encoding ? [] : [row])))
      if (encoding.length > 0) observeStates(this.engine, encoding, this.tokenizer.bos)
      for (const { from, to } of ranges) this.work.observedTokens += to - from
      return true
    })
    // Pages that it was to fill may hold anything.
    if (ranges.length > 0 && !observed) this.jobs.scheduler.forgetPages()
  }

  private begin(plan: Plan): void {
    const now = this.now()
    const starting = plan.begin.flatMap(({ ticket, sequence, slots }) => {
      const running = this.jobs.of(ticket)
      if (!running) return []
      running.sequence = sequence
      return [{ running, sequence, answer: running.begin(slots, now) }]
    })
    const still = ({ running }: { running: Running }) => running.scoring || running.encoding
    for (const each of starting) if (still(each)) this.jobs.settling.add(each.running)
    const descending = starting.filter((each) => !still(each))
    this.call('descend', descending, () => {
      this.engine.begin(
        descending.flatMap(({ running, sequence, answer: { candidates, shape } }) =>
          candidates.map(({ slot }, candidate) => ({
            slot,
            sequence,
            candidate,
            seed: answerSeed(running.job.sampling.seed, shape.index),
            ...(shape.clamped && { clamped: shape.clamped }),
          })),
        ),
      )
      for (const { running } of descending) this.jobs.withdraw(running)
    })
  }

  private refine(plan: Plan): void {
    const rows = plan.descend.flatMap(({ ticket, candidate: index }): Row[] => {
      const running = this.jobs.of(ticket)
      const answer = running?.answer
      const candidate = answer?.candidates[index]
      return running && answer && candidate && answer.hasTurn(index)
        ? [{ running, answer, candidate }]
        : []
    })
    const results = this.call('descend', rows, () =>
      this.engine.descend(rows.map((row) => this.descendRow(row))),
    )
    if (!results) return
    this.work.rows += rows.length
    this.judge(rows, results)
    this.reportSteps(rows.filter(({ running }) => running.job.reportSteps))
  }

  private descendRow({ answer: { limits }, candidate: { slot, progress } }: Row) {
    const { landscapes } = this.engine.model
    return { slot, step: progress.steps, ...planStep(limits, progress.steps, landscapes) }
  }

  private judge(rows: readonly Row[], results: readonly StepResult[]): void {
    const now = this.now()
    rows.forEach(({ running, answer, candidate }, i) => {
      answer.step(candidate, results[i] as StepResult, now)
      if (candidate.stopped) this.jobs.withdraw(running)
    })
  }

  private reportSteps(rows: readonly Row[]): void {
    const { block, vocab } = this.sizes
    const sound = rows.filter(({ candidate }) => candidate.stopped !== 'diverged')
    const top = Math.min(STEP_ALTERNATIVES, vocab)
    const readings = this.call('read', sound, () =>
      this.engine.read(sound.map(({ candidate: { slot } }) => ({ slot, which: 'last', top }))),
    )
    readings?.forEach((reading, i) => {
      const { running, answer, candidate } = sound[i] as Row
      this.jobs.emit(running, stepEvent(answer, candidate, reading, block, this.tokenizer))
    })
  }

  private settle(): boolean {
    const { scheduler, settling } = this.jobs
    const absent = [...settling].filter(({ ticket }) => !scheduler.isPresent(ticket))
    for (const running of absent) settling.delete(running)
    const some = settling.size > 0
    if (some) this.settlePresent()
    for (const running of absent) settling.add(running)
    return some
  }

  private settlePresent(): void {
    this.score()
    this.closeDescents()
    const rows = this.chooseCandidates()
    this.jobs.settling.clear()
    const readings = this.call('read', rows, () =>
      this.engine.read(rows.map((row) => readRow(row.running, row.answer, row.candidate))),
    )
    readings?.forEach((reading, i) => {
      const row = rows[i] as Row
      this.call('read', [row], () => {
        this.commit(row, reading)
      })
    })
  }

  /** Given answers whose energies are asked for: nothing has descended, and nothing is read. */
  private score(): void {
    for (const running of this.jobs.settling) {
      if (running.encoding) this.tellStates(running)
      if (!running.scoring) continue
      this.jobs.settling.delete(running)
      this.call('read', [{ running }], () => {
        const { energy, terms } = tokenEnergy(this.engine, running, running.reading)
        judged(this.jobs, running, undefined, { energy, ...terms })
      })
    }
  }

  /** A text whose states are asked for has been observed. */
  private tellStates(running: Running): void {
    this.jobs.settling.delete(running)
    const representation = running.states.mean
    const tokens = running.promptTokens
    this.jobs.emit(running, { type: 'judged', text: '', tokens, representation })
    this.jobs.complete(running, undefined)
  }

  /**
   * Low-priority work: a few points of one landscape, in ticks that have nothing else to do, or after
   * so many that had.
   */
  private survey(busy: boolean): void {
    const [survey] = this.surveys
    if (!survey || (busy && ++this.waited < PATIENCE)) return
    this.waited = 0
    const { chosen, running } = survey
    if (this.jobs.of(running.ticket) !== running) {
      this.surveys.delete(survey)
      return
    }
    const done = this.call('read', [{ running }], () => survey.proceed())
    if (done === false) return
    this.surveys.delete(survey)
    if (done !== true) return
    this.jobs.emit(running, { type: 'surveyed', lines: survey.result })
    this.jobs.complete(running, chosen)
  }

  /** Judges the last states of settled answers, where their steps' energies do not. */
  private closeDescents(): void {
    const { model } = this.engine
    const rows = [...this.jobs.settling].flatMap((running): Row[] => {
      const { answer } = running
      const open = answer?.unclosed(model.energy.kind === 'residual') ?? []
      return answer ? open.map((candidate) => ({ running, answer, candidate })) : []
    })
    const results = this.call('descend', rows, () =>
      this.engine.energy(
        rows.map(({ candidate: { slot, progress } }) => ({
          slot,
          landscape: landscapeOf(model, progress.steps),
        })),
      ),
    )
    results?.forEach((result, i) => {
      const { answer, candidate } = rows[i] as Row
      answer.close(candidate, result)
    })
  }

  private chooseCandidates(): Row[] {
    return [...this.jobs.settling].flatMap((running): Row[] => {
      const { answer } = running
      if (!answer) return []
      const candidate = answer.chosen()
      if (candidate) return [{ running, answer, candidate }]
      this.jobs.fail(
        running,
        new BasinError('engine_failed', { reason: 'the energy is not finite' }),
      )
      return []
    })
  }

  /** The answer becomes text; the job ends, or goes on to its next answer. */
  private commit({ running, answer, candidate }: Row, reading: Reading): void {
    const { completion } = running
    const { block } = this.sizes
    if (running.reading.length > 0) {
      const logprobs = judgeTokens(running, reading, block, this.tokenizer)
      judged(this.jobs, running, candidate, { logprobs })
      return
    }
    const chosen = takeTokens(running, answer, reading, block, this.tokenizer)
    const judgement = running.job.judge && chosen.length > 0
    const energy = judgement && tokenEnergy(this.engine, running, chosen).energy
    const told = running.job.represent === 'answer'
    const representation = told && representationOf(this.engine, answer, candidate)
    running.accept(chosen)
    const ends = completion.ended || running.full || running.finishing
    if (ends) completion.flush()
    const { text, tokens, logprobs } = completion.take()
    const stopReason = candidate.stopped ?? 'finished'
    this.jobs.emit(running, {
      type: 'committed',
      position: answer.shape.position,
      text,
      tokens,
      steps: candidate.progress.steps,
      energy: energySummary(candidate),
      stopReason,
      seconds: answer.elapsed(this.now()),
      ...(running.job.logprobs !== undefined && { logprobs }),
      ...(typeof energy === 'number' && { tokenEnergy: energy }),
      ...(representation && { representation }),
    })
    if (running.job.survey) {
      this.surveys.add(new Survey(this.engine, running, answer, candidate, running.job.survey))
      return
    }
    if (ends) {
      this.jobs.complete(running, candidate)
      return
    }
    const grown = running.proceed(candidate.progress.steps, stopReason === 'converged')
    this.jobs.scheduler.commit(running.ticket, grown)
  }

  private get sizes(): { block: number; vocab: number } {
    const { answer, vocab_size } = this.engine.model
    return { block: answer.block, vocab: vocab_size }
  }

  /**
   * Times a call for these rows and, if it throws, fails their jobs and no others: the boundary
   * between one batch and the rest of the work. Nothing is called for no rows.
   */
  private call<T>(
    phase: keyof TickStats['seconds'],
    rows: readonly { running: Running }[],
    engine: () => T,
  ): T | undefined {
    if (rows.length === 0) return undefined
    const began = this.now()
    try {
      return engine()
    } catch (error) {
      for (const running of new Set(rows.map((row) => row.running))) this.jobs.fail(running, error)
      return undefined
    } finally {
      this.work.seconds[phase] += this.now() - began
    }
  }
}
