/**
 * The last part of a tick: answers whose descent is over are judged, chosen from and read out; their
 * jobs end or go on to the next answer.
 */
import type { EnergyEngine, Reading } from '../energy/engine.js'
import { BasinError } from '../errors.js'
import { landscapeOf } from '../model/config.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { Calls } from './calls.js'
import type { Jobs } from './jobs.js'
import { judged, judgeTokens, tokenEnergy } from './judge.js'
import { representationOf } from './represent.js'
import type { Row, Running } from './running.js'
import { energySummary, readRow, takeTokens } from './settle.js'
import type { Surveys } from './surveys.js'

const none = new Float32Array(0)

export class Settlement {
  constructor(
    private readonly engine: EnergyEngine,
    private readonly tokenizer: Tokenizer,
    private readonly jobs: Jobs,
    private readonly calls: Calls,
    private readonly surveys: Surveys,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** False where nothing waited for it. */
  settle(): boolean {
    const { scheduler, settling } = this.jobs
    if (settling.size === 0) return false
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
    const readings = this.calls.run('read', rows, () =>
      this.engine.read(
        rows.map(({ running, answer, candidate }) =>
          readRow(running, answer, candidate, this.sizes.block),
        ),
      ),
    )
    readings?.forEach((reading, i) => {
      const row = rows[i] as Row
      this.calls.guard([row], () => {
        this.commit(row, reading, this.now())
      })
    })
  }

  /** Given answers whose energies are asked for: nothing has descended, and nothing is read. */
  private score(): void {
    for (const running of this.jobs.settling) {
      if (running.encoding) this.tellStates(running)
      if (!running.scoring) continue
      this.jobs.settling.delete(running)
      this.calls.run('read', [{ running }], () => {
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

  /** Judges the last states of settled answers, where their steps' energies do not. */
  private closeDescents(): void {
    const { model } = this.engine
    const rows = [...this.jobs.settling].flatMap((running): Row[] => {
      const { answer } = running
      const open = answer?.unclosed(model.energy.kind === 'residual') ?? []
      return answer ? open.map((candidate) => ({ running, answer, candidate })) : []
    })
    const results = this.calls.run('descend', rows, () =>
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

  /** The same for an answer whose token the engine chose, when the clock said `now`. */
  accept(row: Row, token: number, now: number): void {
    const reading = { tokens: Int32Array.of(token), logProbs: none, logits: none, weights: none }
    this.calls.guard([row], () => {
      this.commit(row, reading, now)
    })
  }

  /** The answer becomes text; the job ends, or goes on to its next answer. */
  private commit({ running, answer, candidate }: Row, reading: Reading, now: number): void {
    const { completion } = running
    const { block } = this.sizes
    if (running.reading.length > 0) {
      const logprobs = judgeTokens(running, reading, block, this.tokenizer)
      judged(this.jobs, running, candidate, { logprobs })
      return
    }
    const chosen = takeTokens(running, answer, reading, block, this.tokenizer)
    const judgement = running.job.judge && chosen.length > 0
    const energy =
      judgement && this.calls.timed('read', () => tokenEnergy(this.engine, running, chosen).energy)
    const told = running.job.represent === 'answer'
    const representation =
      told && this.calls.timed('read', () => representationOf(this.engine, answer, candidate))
    running.accept(chosen)
    const ends = completion.ended || running.full || running.finishing
    if (ends) completion.flush()
    const { text, tokens, logprobs } = completion.take()
    const stopReason = candidate.stopped ?? 'finished'
    this.jobs.emit(
      running,
      {
        type: 'committed',
        position: answer.shape.position,
        text,
        tokens,
        steps: candidate.progress.steps,
        energy: energySummary(candidate),
        stopReason,
        seconds: answer.elapsed(now),
        ...(running.job.logprobs !== undefined && { logprobs }),
        ...(typeof energy === 'number' && { tokenEnergy: energy }),
        ...(representation && { representation }),
      },
      now,
    )
    if (running.job.survey) {
      this.surveys.add(running, answer, candidate, running.job.survey)
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
}
