/**
 * Runs a plan on the engine: one batch, several steps in one call, or several answers in one call. It
 * times each call and says which requests a failed call fails. It decides nothing, changes no request and
 * knows no text, so what it finds is applied in one place, whatever the engine did to find it.
 */
import type {
  Awaitable,
  DescendRow,
  EnergyEngine,
  ObserveRow,
  Push,
  Readout,
} from '../../energy/engine.js'
import { BasinError } from '../../errors.js'
import type { Interrupt } from '../../energy/interrupt.js'
import { landscapeOf } from '../../model/derived.js'
import { planStep } from '../../refine/budget.js'
import { startNoise } from '../../refine/restarts.js'
import { needPoints } from '../../refine/terms/composed.js'
import type { TickStats } from '../protocol.js'
import type { TermReading } from './answers/answer-terms.js'
import { slotOf } from './answers/answer.js'
import type { SavedAnswer } from './answers/candidate.js'
import { clampAnswers, type Clamping, clampPosition } from './requests/clamp.js'
import type { LandscapeProbe } from './requests/landscape-probe.js'
import { addModelReadings } from './model-readings.js'
import { outcomesOf } from './multi-step.js'
import { resolve } from './requests/prepare-terms.js'
import { changePositions, restartDescents, swapDescent } from './restart.js'
import {
  beginRow,
  type CandidateRow,
  candidateOf,
  type RequestState,
} from './requests/request-state.js'
import {
  type AnswersInARow,
  type ChangeRow,
  emptyOutcome,
  type Observation,
  type Outcome,
  type RestartRow,
  type SettledReadout,
  type SlotMove,
  type StepPlan,
  type TokensToScore,
} from './step-plan.js'
import { keptReadout, readRow, STEP_ALTERNATIVES } from './requests/token-selection.js'

/** Where terms are taken: at the answer, and where the next step begins if that is another place. */
const lastOnly = ['last'] as const
const both = ['last', 'present'] as const

type Phase = keyof TickStats['seconds']

/** What a request contributes to a call. */
interface Participant {
  readonly state: RequestState
}

interface ObserveCall extends Participant {
  row: ObserveRow
  /** The sum of its tokens' states is wanted. */
  encode: boolean
}

export class Executor {
  /** A plan is being executed: the engine has not answered all of its calls. */
  inFlight = false

  constructor(
    private readonly engine: EnergyEngine,
    /** The token at the beginning of every context, which is no part of its text. */
    private readonly bos: number | undefined,
    /** Raised when a message waits: calls of several steps or answers end early then. */
    private readonly interrupt: Interrupt | undefined,
    /** Seconds, monotonic. */
    private readonly now: () => number,
  ) {}

  /** One outcome for a batch; for several answers in a row one for each. */
  async execute(plan: StepPlan): Promise<readonly Outcome[]> {
    if (this.inFlight) throw new Error('a step is in flight: another one begins when it has ended')
    this.inFlight = true
    try {
      return plan.answersInARow
        ? await this.takeAnswers(plan.answersInARow)
        : [await this.run(plan)]
    } finally {
      this.inFlight = false
    }
  }

  private async run(plan: StepPlan): Promise<Outcome> {
    const outcome = emptyOutcome()
    for (const state of plan.save) await this.saveRequest(state, outcome)
    for (const move of plan.moveOut) await this.save(move, outcome)
    for (const contextId of plan.release) this.engine.release(contextId)
    if (plan.observe.length > 0) await this.observe(plan.observe, outcome)
    outcome.begunAt = this.now()
    if (plan.moveIn.length > 0) await this.moveIn(plan.moveIn, outcome)
    for (const clamping of plan.clamp) await this.clamp(clamping, outcome)
    outcome.represented = plan.represent
    for (const row of plan.swap) await this.swap(row, outcome)
    if (plan.restart.length > 0) await this.restart(plan.restart, outcome)
    if (plan.change.length > 0) await this.change(plan.change, outcome)
    if (plan.descend.length > 0) await this.descend(plan, outcome)
    for (const each of plan.score) await this.score(each, outcome)
    if (plan.close.length > 0) await this.close(plan.close, outcome)
    if (plan.read.length > 0) await this.read(plan.read, outcome)
    if (plan.probe) await this.advance(plan.probe, outcome)
    return outcome
  }

  private async observe(observations: readonly Observation[], outcome: Outcome): Promise<void> {
    const calls: ObserveCall[] = []
    for (const each of observations) this.addObserveCalls(each, calls)
    const plain = calls.filter(({ encode }) => !encode)
    if (plain.length > 0)
      await this.call('observe', plain, outcome, () => this.engine.observe(plain.map(rowOf)))
    const texts = withoutFailed(calls, outcome).filter(({ encode }) => encode)
    if (texts.length > 0) {
      const sums = await this.call('observe', texts, outcome, () =>
        this.engine.encode(texts.map(rowOf)),
      )
      outcome.encoded = (sums ?? []).map((sum, i) => {
        const { row, state } = texts[i] as ObserveCall
        return { state, sum, tokens: row.tokens.length }
      })
    }
    outcome.pagesLost = outcome.failures.length > 0
    for (const { from, to } of withoutFailed(observations, outcome))
      outcome.work.observedTokens += to - from
  }

  /** The begin-of-text token is no part of a text whose states are wanted: it is observed apart. */
  private addObserveCalls(
    { contextId, from, pages, state, to }: Observation,
    calls: ObserveCall[],
  ): void {
    const tokens = state.context.slice(from, to)
    if (!state.encodesPrompt) {
      const row: ObserveRow = { contextId, pages, tokens }
      if (to > from) row.from = from
      calls.push({ state, row, encode: false })
      return
    }
    const start = from === 0 && this.bos !== undefined ? 1 : 0
    const head = { contextId, pages, from, tokens: tokens.slice(0, start) }
    const text = { contextId, pages, from: from + start, tokens: tokens.slice(start) }
    if (head.tokens.length > 0) calls.push({ state, row: head, encode: false })
    if (text.tokens.length > 0) calls.push({ state, row: text, encode: true })
  }

  private async clamp(clamping: Clamping, outcome: Outcome): Promise<void> {
    await this.call('descend', [clamping], outcome, async () => {
      try {
        await clampPosition(this.engine, clamping)
      } catch (error) {
        if (!(error instanceof BasinError && error.code === 'invalid_frame')) throw error
        outcome.declined = [...outcome.declined, { states: [clamping.state], error }]
      }
    })
  }

  private async save(move: SlotMove, outcome: Outcome): Promise<void> {
    const { clamped } = candidateOf(move).answer.shape
    const bytes = await this.call('descend', [move], outcome, () => this.engine.save(move.slot))
    if (bytes) outcome.saved = [...outcome.saved, { row: move, saved: { bytes, clamped } }]
  }

  private async saveRequest(state: RequestState, outcome: Outcome): Promise<void> {
    const { answer } = state
    const before = outcome.work.seconds.descend
    const saved = await this.call('descend', [{ state }], outcome, async () => {
      const states: (Uint8Array | undefined)[] = []
      for (const { slot } of answer?.candidates ?? [])
        states.push(slot === undefined ? undefined : await this.engine.save(slot))
      return states
    })
    const seconds = outcome.work.seconds.descend - before
    if (saved) outcome.thoughts = [...outcome.thoughts, { state, saved, seconds }]
  }

  private async moveIn(moves: readonly SlotMove[], outcome: Outcome): Promise<void> {
    const fresh = withoutFailed(moves, outcome).filter(({ saved }) => !saved)
    if (fresh.length > 0)
      await this.call('descend', fresh, outcome, () =>
        this.engine.begin(fresh.map((row) => beginRow(row))),
      )
    await this.readBegun(fresh, outcome)
    await this.resolveTerms(withoutFailed(moves, outcome), outcome)
    for (const move of withoutFailed(moves, outcome))
      if (move.saved) await this.restore(move, move.saved, outcome)
    outcome.begun = [...new Set(withoutFailed(moves, outcome).map(({ state }) => state))]
  }

  /** What terms have to know before the first step of these descents. */
  private async readBegun(begun: readonly CandidateRow[], outcome: Outcome): Promise<void> {
    const termed = withoutFailed(
      begun.filter(({ state }) => state.answer?.terms),
      outcome,
    )
    if (termed.length === 0) return
    await this.resolveTerms(termed, outcome)
    const rows = withoutFailed(termed, outcome)
    const readings = await this.readTerms(rows, outcome)
    const found = rows.flatMap((row, i) => {
      const reading = readings?.[i]
      return reading ? [{ row, reading }] : []
    })
    outcome.begunReadings = [...outcome.begunReadings, ...found]
  }

  /** Terms that are known once the engine has given vectors: of those that begin, and of those that go on. */
  private async resolveTerms(rows: readonly CandidateRow[], outcome: Outcome): Promise<void> {
    for (const { state } of rows)
      for (const wanted of [...(state.terms?.unresolved ?? [])]) {
        const vectors = await this.call('read', [{ state }], outcome, () =>
          this.engine.tokenVectors?.(wanted.tokens),
        )
        if (vectors && state.terms) resolve(state.terms, wanted, vectors)
      }
  }

  /** A position that was fixed or opened in the meantime is fixed or opened in what was saved, too. */
  private async restore(
    move: SlotMove,
    { bytes, clamped }: SavedAnswer,
    outcome: Outcome,
  ): Promise<void> {
    await this.call('descend', [move], outcome, async () => {
      await this.engine.restore(move.slot, move.state.contextId, bytes)
      if (clamped !== candidateOf(move).answer.shape.clamped)
        await clampAnswers(this.engine, [move], clamped)
    })
  }

  private async restart(restarts: readonly RestartRow[], outcome: Outcome): Promise<void> {
    const rows = withoutFailed(restarts, outcome)
    if (rows.length === 0) return
    const restarted = await this.call('descend', rows, outcome, () =>
      restartDescents(this.engine, rows),
    )
    outcome.restarted = restarted ?? []
    await this.readBegun(rows, outcome)
    for (const { restart } of rows)
      outcome.work.restarts.push({ reason: restart.reason, steps: restart.steps })
  }

  private async change(changes: readonly ChangeRow[], outcome: Outcome): Promise<void> {
    const rows = withoutFailed(changes, outcome)
    if (rows.length === 0) return
    const changed = await this.call('descend', rows, outcome, () =>
      changePositions(this.engine, rows),
    )
    outcome.changed = changed ?? []
  }

  private async swap(row: CandidateRow, outcome: Outcome): Promise<void> {
    const state = await this.call('read', [row], outcome, () => swapDescent(this.engine, row))
    if (state) outcome.swapped = [...outcome.swapped, { row, state }]
  }

  /** One step of every row, or several, as far as the interrupt lets them come. */
  private async descend({ descend, steps }: StepPlan, outcome: Outcome): Promise<void> {
    const rows = withoutFailed(descend, outcome)
    if (rows.length === 0) return
    const rounds = Array.from({ length: steps }, (_, ahead) =>
      rows.map((row) => this.descendRow(row, ahead, outcome)),
    ).flat()
    const spent = outcome.work.seconds.descend
    const before = await this.undoable(rows, outcome)
    const results = await this.call('descend', rows, outcome, () =>
      this.engine.descend(rounds, this.interrupt),
    )
    if (!results) return
    const taken = results.length / rows.length
    const seconds = (outcome.work.seconds.descend - spent) / taken
    outcome.work.ticks.push({ rows: rows.length, steps: taken, seconds })
    const readings = await this.termsAfter(rows, outcome)
    const at = this.now()
    outcome.descents = Array.from({ length: taken }, (_, round) => {
      const from = round * rows.length
      const found = results.slice(from, from + rows.length)
      return { rows, results: found, ...(readings && { readings }), ...(before && { before }), at }
    })
    const shown = rows.filter(
      ({ state }, i) => state.request.reportSteps && Number.isFinite(results[i]?.energy),
    )
    if (shown.length > 0) await this.preview(shown, outcome)
  }

  /** `ahead`: steps of this call before it. */
  private descendRow(row: CandidateRow, ahead: number, outcome: Outcome): DescendRow {
    const { answer, candidate } = candidateOf(row)
    const { progress } = candidate
    const slot = slotOf(candidate)
    const step = progress.steps + ahead
    const { landscapes } = this.engine.model
    const plan = planStep(answer.limits, step, landscapes, progress.stepShare)
    const noise = startNoise(candidate.start, step, plan.noise)
    const push = pushOf(row, outcome)
    const descends: DescendRow = Object.assign(plan, { slot, step, noise })
    if (push) descends.push = push
    return descends
  }

  /** Puts back states whose steps are undone, and saves those from which steps are taken that may be. */
  private async undoable(
    rows: readonly CandidateRow[],
    outcome: Outcome,
  ): Promise<(Uint8Array | undefined)[] | undefined> {
    if (rows.every((row) => !candidateOf(row).candidate.moves)) return undefined
    return this.call('descend', rows, outcome, async () => {
      const saved: (Uint8Array | undefined)[] = []
      for (const row of rows) {
        const { candidate } = candidateOf(row)
        const { moves } = candidate
        const slot = slotOf(candidate)
        if (moves?.undo) await this.engine.restore(slot, row.state.contextId, moves.undo.bytes)
        saved.push(moves && (moves.undo?.bytes ?? (await this.engine.save(slot))))
      }
      return saved
    })
  }

  /** By row, of those whose requests have terms; undefined where none has. They take single steps. */
  private async termsAfter(rows: readonly CandidateRow[], outcome: Outcome) {
    const termed = rows.filter(({ state }) => state.answer?.terms)
    if (termed.length === 0) return undefined
    const readings = await this.readTerms(termed, outcome)
    return rows.map((row) => readings?.[termed.indexOf(row)])
  }

  /** What the terms of these rows are functions of, by row; undefined if the call fails. */
  private async readTerms(
    rows: readonly CandidateRow[],
    outcome: Outcome,
  ): Promise<TermReading[] | undefined> {
    const { energy } = this.engine.model
    const places = energy.kind === 'residual' && energy.direction === 'exact' ? both : lastOnly
    const asked = rows.flatMap((row) => {
      const slot = slotOf(candidateOf(row).candidate)
      return places.map((which) => ({ which, slot }))
    })
    const pointed = rows.some(({ state }) => needPoints(state.terms?.weighted ?? []))
    return this.call('read', rows, outcome, async () => {
      const readouts = await this.engine.read(asked.map((row) => ({ ...row, top: 'all' })))
      const points = pointed ? await this.engine.points(asked) : []
      const at = (i: number): Pick<TermReading, 'logits' | 'points'> => {
        const point = points[i]
        return { logits: (readouts[i] as Readout).logits, ...(point && { points: point }) }
      }
      const readings = rows.map((_, i): TermReading => {
        const first = i * places.length
        return { ...at(first), ...(places.length > 1 && { present: at(first + 1) }) }
      })
      if (rows.some(({ state }) => (state.terms?.models.length ?? 0) > 0))
        await addModelReadings(rows, readings)
      return readings
    })
  }

  /** The present states of answers in descent, for clients that watch every step. */
  private async preview(rows: readonly CandidateRow[], outcome: Outcome): Promise<void> {
    const top = Math.min(STEP_ALTERNATIVES, this.engine.model.vocab_size)
    const readouts = await this.call('read', rows, outcome, () =>
      this.engine.read(
        rows.map((row) => ({ slot: slotOf(candidateOf(row).candidate), which: 'last', top })),
      ),
    )
    outcome.previews = (readouts ?? []).map((readout, i) => {
      return { row: rows[i] as CandidateRow, readout }
    })
  }

  /** On the model's last landscape. */
  private async score(asked: TokensToScore, outcome: Outcome): Promise<void> {
    const rows = withoutFailed([asked], outcome)
    if (rows.length === 0) return
    const { state, tokens } = asked
    const row = {
      contextId: state.contextId,
      answer: tokens,
      landscape: this.engine.model.landscapes - 1,
    }
    const results = await this.call('read', rows, outcome, () => this.engine.energy([row]))
    const scores = (results ?? []).map((result) => ({ state, tokens, result }))
    outcome.scores = [...outcome.scores, ...scores]
  }

  private async close(rows: readonly CandidateRow[], outcome: Outcome): Promise<void> {
    const { model } = this.engine
    const results = await this.call('descend', rows, outcome, () =>
      this.engine.energy(
        rows.map((row) => {
          const { candidate } = candidateOf(row)
          const landscape = landscapeOf(model, candidate.progress.steps)
          return { slot: slotOf(candidate), landscape }
        }),
      ),
    )
    outcome.closings = (results ?? []).map((result, i) => {
      return { row: rows[i] as CandidateRow, result }
    })
  }

  private async read(asked: readonly CandidateRow[], outcome: Outcome): Promise<void> {
    const { block } = this.engine.model.answer
    // A mask that cannot be found fails its own request, and not all that are read with it.
    for (const row of asked)
      if (row.state.mask) await this.call('read', [row], outcome, () => row.state.mask?.allowed())
    const rows = withoutFailed(asked, outcome)
    const kept = rows.map((row) => keptReadout(row, block))
    const others = rows.filter((_, i) => !kept[i])
    const read =
      others.length === 0
        ? []
        : await this.call('read', others, outcome, () =>
            this.engine.read(others.map((row) => readRow(row, block))),
          )
    if (!read) return
    const fresh = [...read]
    const readouts = kept.map((readout) => readout ?? (fresh.shift() as Readout))
    const at = this.now()
    const found: SettledReadout[] = readouts.map((readout, i) => {
      return { row: rows[i] as CandidateRow, readout, at }
    })
    for (const each of found)
      if (each.row.state.request.represent === 'answer') await this.addPoint(each, outcome)
    outcome.readouts = found
  }

  /** The state that was read, for its representation. */
  private async addPoint(read: SettledReadout, outcome: Outcome): Promise<void> {
    const { answer, candidate } = candidateOf(read.row)
    const asked = { slot: slotOf(candidate), which: answer.reads(candidate) }
    const points = await this.call('read', [read.row], outcome, () => this.engine.points([asked]))
    const [point] = points ?? []
    if (point) read.point = point
  }

  private async advance(probe: LandscapeProbe, outcome: Outcome): Promise<void> {
    const done = await this.call('read', [probe], outcome, () => probe.advance(this.engine))
    if (done !== undefined) outcome.probed = { probe, done }
  }

  private async takeAnswers({ state, row }: AnswersInARow): Promise<readonly Outcome[]> {
    const outcome = emptyOutcome()
    const began = this.now()
    const answers = await this.call(
      'descend',
      [{ state }],
      outcome,
      () => this.engine.multiStep?.(row, this.interrupt) ?? [],
    )
    return answers && answers.length > 0
      ? outcomesOf(state, answers, began, outcome.work.seconds.descend)
      : [outcome]
  }

  /** Undefined if the call fails: then the requests that take part have failed, and no others. */
  private async call<T>(
    phase: Phase,
    participants: readonly Participant[],
    outcome: Outcome,
    verb: () => Awaitable<T>,
  ): Promise<T | undefined> {
    const began = this.now()
    try {
      const result = verb()
      return result instanceof Promise ? await result : result
    } catch (error) {
      const states = [...new Set(participants.map(({ state }) => state))]
      outcome.failures = [...outcome.failures, { states, error }]
      return undefined
    } finally {
      outcome.work.seconds[phase] += this.now() - began
    }
  }
}

/** What the terms of a request push the next step of a candidate by; its descent may have begun in this batch. */
function pushOf(row: CandidateRow, { begunReadings }: Outcome): Push | undefined {
  const { answer, candidate } = candidateOf(row)
  if (!answer.terms) return undefined
  const begun = begunReadings.find(
    ({ row: other }) => other.state === row.state && other.index === row.index,
  )
  return begun ? answer.terms.pushAt(begun.reading) : candidate.terms?.push
}

const rowOf = ({ row }: ObserveCall): ObserveRow => row

/** Those whose requests an earlier call of this batch has not failed. */
const withoutFailed = <T extends Participant>(rows: readonly T[], { failures }: Outcome) =>
  failures.length === 0
    ? rows
    : rows.filter(({ state }) => !failures.some(({ states }) => states.includes(state)))
