/** What happened in one run, step by step, so that it can be drawn at any moment, live or later. */
import { positionTexts } from '../../src/tokenizer/template-positions.js'
import type {
  CommittedEvent,
  FinishedEvent,
  Layout,
  Position,
  Request,
  ServerEvent,
  StepEvent,
} from './wire.js'

/** A settled piece of a longer text. */
export interface Piece {
  text: string
  /** The probability of its reading when it settled; the mean of several positions. */
  certainty: number
  /** Other readings at that moment. */
  others: Position
}

/** One step of the descent, of all candidates that took it. */
export interface Moment {
  /** Of the answer in the completion. */
  position: number
  /** From 1: of the answer; where descents begin anew, how many moments it has had. */
  step: number
  /** The candidate whose step came last. */
  latest: number
  /** By candidate; one that has ended keeps its last. */
  candidates: (StepEvent | undefined)[]
  /** Lowest energy of this answer so far, over all candidates. */
  best: number
  /** The candidate of that energy. */
  leader: number
  /** Pieces of text that had settled before. */
  settled: number
  /** Milliseconds since the run began. */
  at: number
}

export interface Ending {
  reason: string
  text: string
  steps: number
  energy: FinishedEvent['refinement']['energy']
}

export class Recording {
  readonly moments: Moment[] = []
  readonly pieces: Piece[] = []
  ending: Ending | undefined
  private latest: Ending | undefined
  /** Positions that were set while the answer settled, and the moment from which on. */
  readonly edits: { from: number; position: number; text: string }[] = []
  /** Moments at which an answer of a longer text had settled. */
  readonly commits: number[] = []
  private readonly began = performance.now()

  constructor(readonly request: Request) {}

  get candidates(): number {
    const { candidates = 1, restarts } = this.request.refinement ?? {}
    return restarts?.keep ?? candidates
  }

  /** The template as it was at a moment; `layout`: of the model. */
  templateAt(moment: number, layout: Layout | null): string {
    const template = [...positionTexts(this.request.template ?? '', layout)]
    for (const { from, position, text } of this.edits) if (from <= moment) template[position] = text
    return template.join('')
  }

  edit(position: number, text: string): void {
    this.edits.push({ from: this.moments.length - 1, position, text })
    const last = this.moments.at(-1)
    // Energies before it are of another question.
    if (last) last.best = Infinity
  }

  take(event: ServerEvent): void {
    if (event.type === 'step') this.step(event)
    else if (event.type === 'committed') this.commit(event)
    else if (event.type === 'finished') this.finish(event)
  }

  /** The answer goes on: what it had settled on may change. */
  reopen(): void {
    this.latest = this.ending ?? this.latest
    this.ending = undefined
  }

  /** It ends where it stands. */
  settle(reason: string): void {
    if (this.latest) this.ending = { ...this.latest, reason }
  }

  private step(event: StepEvent): void {
    const last = this.moments.at(-1)
    const same = last?.position === event.position ? last : undefined
    const anew = event.restart !== undefined
    // One round of steps is one moment. Candidates step in the order of their index; after restarts their step
    // numbers differ, so there the index tells whether a round goes on.
    const goesOn = anew ? event.candidate > (same?.latest ?? Infinity) : same?.step === event.step
    const open = goesOn ? same : undefined
    const moment = open ?? {
      position: event.position,
      step: anew ? (same?.step ?? 0) + 1 : event.step,
      latest: event.candidate,
      candidates: same ? [...same.candidates] : [],
      best: same?.best ?? Infinity,
      leader: same?.leader ?? event.candidate,
      settled: this.pieces.length,
      at: performance.now() - this.began,
    }
    moment.candidates[event.candidate] = event
    moment.latest = event.candidate
    if (event.best_energy < moment.best) {
      moment.best = event.best_energy
      moment.leader = event.candidate
    }
    if (!open) this.moments.push(moment)
  }

  private commit({ position, text }: CommittedEvent): void {
    const last = this.moments.at(-1)
    const read = last?.candidates[last.leader]
    const positions = read?.positions ?? []
    const sure = positions.map(({ probabilities }) => probabilities[0] ?? 1)
    const certainty = sure.reduce((sum, share) => sum + share, 0) / sure.length
    // Of several positions that settled together, no other reading stands for all of them.
    const [top] = positions.length === 1 ? positions : []
    const others = top ?? { tokens: [text], probabilities: [1] }
    // A held answer that was extended is committed again, in place of what it was.
    const again = last && last.settled < this.pieces.length && last.position === position
    if (again) this.pieces.pop()
    this.pieces.push({ text, certainty: sure.length > 0 ? certainty : 1, others })
    this.commits.push(this.moments.length - 1)
  }

  private finish({ refinement, text }: FinishedEvent): void {
    this.ending = {
      reason: refinement.stop_reason,
      text,
      steps: refinement.steps,
      energy: refinement.energy,
    }
  }
}

/**
 * What stands before the block that is drawn, of a text with blanks of which nothing has settled: its beginning, as far as
 * the block does not repeat it.
 */
export function beforeBlock(template: string, block: string): string {
  const lead = template.slice(0, template.search(/ ?_/))
  for (let from = 0; from < lead.length; from++)
    if (block.startsWith(lead.slice(from))) return lead.slice(0, from)
  return lead
}

/** The step of one candidate, or of the best one. */
export const stepAt = (moment: Moment | undefined, candidate?: number): StepEvent | undefined =>
  moment?.candidates[candidate ?? moment.leader] ?? moment?.candidates[moment.leader]
