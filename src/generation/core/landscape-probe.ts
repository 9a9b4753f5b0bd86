/**
 * The landscape around a settled answer: its energy along lines through the point where its descent
 * ended, to the other candidates, along the descent, and in random directions. A few points per call,
 * as many as the answer has slots: work that nobody else should have to wait for.
 */
import type { SynchronousEngine } from '../../energy/engine.js'
import { stateWidth } from '../../model/config.js'
import { normals } from '../../refine/random.js'
import type { Answer, Candidate } from './answer.js'
import type { ProbeLine, ProbeRequest } from '../protocol.js'
import type { RequestState } from './request-state.js'

/** Where random directions draw from: no candidate has so high a number. */
const STREAM = 2 ** 20
const SMALLEST = 1e-12

const lengthOf = (vector: Float32Array): number =>
  Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))

interface Line extends ProbeLine {
  /** From the centre to t = 1, [K, W]. */
  step: Float32Array
}

export class LandscapeProbe {
  private readonly lines: Line[]
  private readonly centre: Float32Array
  private readonly slots: readonly number[]
  /** Points that have been looked at. */
  private done = 0

  constructor(
    private readonly engine: SynchronousEngine,
    readonly state: RequestState,
    private readonly answer: Answer,
    readonly chosen: Candidate,
    private readonly asked: ProbeRequest,
  ) {
    this.slots = answer.candidates.map(({ slot }) => slot)
    const states = engine.points(this.slots.map((slot) => ({ slot, which: 'present' })))
    const at = answer.candidates.indexOf(chosen)
    this.centre = states[at] as Float32Array
    this.lines = [
      ...(asked.directions.includes('candidates') ? this.toOthers(states, at) : []),
      ...(asked.directions.includes('gradient') ? this.downhill() : []),
      ...(asked.directions.includes('random') ? this.anywhere() : []),
    ].filter(({ length }) => length > SMALLEST)
  }

  get result(): ProbeLine[] {
    return this.lines.map(({ at, candidate, direction, energies, length }) => ({
      ...{ direction, length, at, energies },
      ...(candidate !== undefined && { candidate }),
    }))
  }

  /** Looks at the next few points. True when there are no more. */
  proceed(): boolean {
    const points = this.asked.points
    const most = Math.min(this.slots.length, this.lines.length * points - this.done)
    const batch = Array.from({ length: most }, (_, i) => {
      const line = this.lines[Math.floor((this.done + i) / points)] as Line
      return { slot: this.slots[i] as number, line, t: line.at[(this.done + i) % points] as number }
    })
    for (const { line, slot, t } of batch) this.place(slot, line, t)
    const landscape = this.engine.model.landscapes - 1
    const results = this.engine.energy(batch.map(({ slot }) => ({ slot, landscape })))
    results.forEach(({ energy }, i) => batch[i]?.line.energies.push(energy))
    this.done += most
    return this.done >= this.lines.length * points
  }

  private place(slot: number, { step }: Line, t: number): void {
    const start = this.centre.map((x, i) => x + t * (step[i] as number))
    this.begin(slot, start)
  }

  private begin(slot: number, start: Float32Array): void {
    const { clamped } = this.answer.shape
    const { request, contextId } = this.state
    const row = { slot, contextId, seed: request.sampling.seed, candidate: 0, start }
    this.engine.begin([{ ...row, ...(clamped && { clamped }) }])
  }

  private line(direction: ProbeLine['direction'], step: Float32Array): Line {
    const { points, reach } = this.asked
    const at = Array.from({ length: points }, (_, i) => reach * ((2 * i) / (points - 1) - 1))
    return { direction, length: lengthOf(step), at, energies: [], step }
  }

  /** t = 1 is the other candidate. */
  private toOthers(states: readonly Float32Array[], own: number): Line[] {
    return states.flatMap((state, candidate) => {
      if (candidate === own) return []
      const step = this.moving(state.map((x, i) => x - (this.centre[i] as number)))
      return [{ ...this.line('candidate', step), candidate }]
    })
  }

  /** Along one more step of the descent, t > 0 ahead; nothing where it stands still. */
  private downhill(): Line[] {
    const [slot = 0] = this.slots
    const { landscapes } = this.engine.model
    this.begin(slot, this.centre)
    this.engine.descend([{ slot, landscape: landscapes - 1, noise: 0, step: 0 }])
    const [next] = this.engine.points([{ slot, which: 'present' }])
    const base = this.base()
    const away = this.moving((next ?? base).map((x, i) => x - (base[i] as number)))
    return lengthOf(away) > SMALLEST ? [this.line('gradient', this.scaled(away))] : []
  }

  private anywhere(): Line[] {
    return Array.from({ length: this.asked.random }, (_, k) => {
      const { seed } = this.state.request.sampling
      const any = normals(seed, STREAM + k, 0, this.centre.length)
      return this.line('random', this.scaled(this.moving(any)))
    })
  }

  /** Where a step starts from: softmax(z) where the model normalises every step. */
  private base(): Float32Array {
    const { model } = this.engine
    const { normalize, space } = model.answer
    if (space !== 'vocab' || normalize !== 'every_step') return this.centre
    const width = stateWidth(model)
    const base = new Float32Array(this.centre.length)
    for (let from = 0; from < base.length; from += width) {
      const z = this.centre.subarray(from, from + width)
      const top = z.reduce((most, x) => Math.max(most, x), -Infinity)
      const total = z.reduce((sum, x) => sum + Math.exp(x - top), 0)
      z.forEach((x, i) => (base[from + i] = Math.exp(x - top) / total))
    }
    return base
  }

  /** As long as the centre is far out; 1 if it is at the origin. */
  private scaled(direction: Float32Array): Float32Array {
    const far = lengthOf(this.moving(this.centre)) || 1
    const factor = far / lengthOf(direction)
    return direction.map((x) => x * factor)
  }

  /** Zero at clamped positions. */
  private moving(vector: Float32Array): Float32Array {
    const { clamped } = this.answer.shape
    if (!clamped) return vector
    const width = stateWidth(this.engine.model)
    return vector.map((x, i) => ((clamped[Math.floor(i / width)] ?? -1) < 0 ? x : 0))
  }
}
