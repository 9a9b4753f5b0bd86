/**
 * The landscape around a settled answer: its energy along lines through the point where its descent ended,
 * to the other candidates, along the descent, and in random directions. A probe takes part in a step with a
 * few points, as many as the answer has slots; ProbeQueue lets it take part where nobody has to wait for it.
 */
import type { EnergyEngine } from '../../../energy/engine.js'
import { stateWidth } from '../../../model/derived.js'
import { normals } from '../../../refine/random.js'
import type { ProbeLine, ProbePlane, ProbeRequest } from '../../protocol.js'
import { PlaneProbe } from './plane-probe.js'
import { inSlots } from '../answers/answer.js'
import { type CandidateRow, candidateOf, type RequestState } from './request-state.js'
import { BLANK } from '../answers/answer-shape.js'

/** The stream of random numbers of the first random direction: no candidate has so high a number. */
const RANDOM_DIRECTIONS = 2 ** 20
/** Shorter vectors have no direction. */
const LEAST_LENGTH = 1e-12

const lengthOf = (vector: Float32Array): number =>
  Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))

interface Line extends ProbeLine {
  /** From the centre to t = 1, [K, W]. */
  step: Float32Array
}

/** Where the descent of each candidate ended, and the lines through the chosen one's end. */
interface Geometry {
  centre: Float32Array
  lines: readonly Line[]
}

export class LandscapeProbe {
  private geometry: Geometry | undefined
  /** Slots of the answer: another candidate that was moved out is not looked at. */
  private readonly slots: readonly number[]
  /** Which candidates are in them. */
  private readonly candidates: readonly number[]
  private readonly clamped: readonly number[] | undefined
  /** Points that have been looked at. */
  private done = 0
  /** Begins when the lines are done: it takes the descent again, in the slots that lines start from. */
  private planeProbe: PlaneProbe | undefined

  /** `chosen`: the candidate around which to look. */
  constructor(
    readonly chosen: CandidateRow,
    private readonly asked: ProbeRequest,
  ) {
    const { answer } = candidateOf(chosen)
    const rows = inSlots(answer)
    this.slots = rows.map(({ slot }) => slot)
    this.candidates = rows.map(({ index }) => index)
    this.clamped = answer.shape.clamped
  }

  get state(): RequestState {
    return this.chosen.state
  }

  get lines(): ProbeLine[] {
    return (this.geometry?.lines ?? []).map(({ at, candidate, direction, energies, length }) => ({
      direction,
      length,
      at,
      energies,
      ...(candidate !== undefined && { candidate }),
    }))
  }

  get plane(): ProbePlane | undefined {
    return this.planeProbe?.result
  }

  /** Looks at the next few points. True when there are no more. */
  async advance(engine: EnergyEngine): Promise<boolean> {
    if (this.planeProbe) return this.planeProbe.advance(engine)
    if (!(await this.advanceLines(engine))) return false
    const { plane } = this.asked
    if (plane) this.planeProbe = new PlaneProbe(this.chosen, plane)
    return !plane
  }

  private async advanceLines(engine: EnergyEngine): Promise<boolean> {
    this.geometry ??= await this.begin(engine)
    const { centre, lines } = this.geometry
    const { points } = this.asked
    const most = Math.min(this.slots.length, lines.length * points - this.done)
    const batch = Array.from({ length: most }, (_, i) => {
      const line = lines[Math.floor((this.done + i) / points)] as Line
      return { slot: this.slots[i] as number, line, t: line.at[(this.done + i) % points] as number }
    })
    for (const { line, slot, t } of batch) {
      const start = centre.map((x, i) => x + t * (line.step[i] as number))
      await this.beginAt(engine, slot, start)
    }
    const landscape = engine.model.landscapes - 1
    const results = await engine.energy(batch.map(({ slot }) => ({ slot, landscape })))
    results.forEach(({ energy }, i) => batch[i]?.line.energies.push(energy))
    this.done += most
    return this.done >= lines.length * points
  }

  private async begin(engine: EnergyEngine): Promise<Geometry> {
    const { directions } = this.asked
    const ends = await engine.points(this.slots.map((slot) => ({ slot, which: 'present' })))
    const centre = ends[this.candidates.indexOf(this.chosen.index)] as Float32Array
    const lines = [
      ...(directions.includes('candidates') ? this.toOthers(engine, ends, centre) : []),
      ...(directions.includes('gradient') ? await this.downhill(engine, centre) : []),
      ...(directions.includes('random') ? this.anywhere(engine, centre) : []),
    ]
    return { centre, lines: lines.filter(({ length }) => length > LEAST_LENGTH) }
  }

  private async beginAt(engine: EnergyEngine, slot: number, start: Float32Array): Promise<void> {
    const { clamped } = this
    const { contextId, request } = this.state
    const { seed } = request.sampling
    await engine.begin([
      { slot, contextId, seed, candidate: 0, start, ...(clamped && { clamped }) },
    ])
  }

  private line(direction: ProbeLine['direction'], step: Float32Array): Line {
    const { points, reach } = this.asked
    const at = Array.from({ length: points }, (_, i) => reach * ((2 * i) / (points - 1) - 1))
    return { direction, length: lengthOf(step), at, energies: [], step }
  }

  /** t = 1 is the end of the other candidate. */
  private toOthers(
    engine: EnergyEngine,
    ends: readonly Float32Array[],
    centre: Float32Array,
  ): Line[] {
    return ends.flatMap((end, i) => {
      const candidate = this.candidates[i] as number
      if (candidate === this.chosen.index) return []
      const step = this.moving(
        engine,
        end.map((x, j) => x - (centre[j] as number)),
      )
      return [{ ...this.line('candidate', step), candidate }]
    })
  }

  /** Along one more step of the descent, t > 0 ahead; no line where the descent stands still. */
  private async downhill(engine: EnergyEngine, centre: Float32Array): Promise<Line[]> {
    const [slot = 0] = this.slots
    await this.beginAt(engine, slot, centre)
    const landscape = engine.model.landscapes - 1
    await engine.descend([{ slot, landscape, noise: 0, step: 0 }])
    const [next] = await engine.points([{ slot, which: 'present' }])
    const base = stepBase(engine, centre)
    const away = this.moving(
      engine,
      (next ?? base).map((x, i) => x - (base[i] as number)),
    )
    if (lengthOf(away) <= LEAST_LENGTH) return []
    return [this.line('gradient', this.scaled(engine, away, centre))]
  }

  private anywhere(engine: EnergyEngine, centre: Float32Array): Line[] {
    return Array.from({ length: this.asked.random }, (_, k) => {
      const { seed } = this.state.request.sampling
      const any = normals(seed, RANDOM_DIRECTIONS + k, 0, centre.length)
      return this.line('random', this.scaled(engine, this.moving(engine, any), centre))
    })
  }

  /** As long as the centre is far from the origin, or 1 where it is at the origin. */
  private scaled(engine: EnergyEngine, direction: Float32Array, centre: Float32Array) {
    const distance = lengthOf(this.moving(engine, centre)) || 1
    const factor = distance / lengthOf(direction)
    return direction.map((x) => x * factor)
  }

  /** Zero at clamped positions. */
  private moving({ model }: EnergyEngine, vector: Float32Array): Float32Array {
    const { clamped } = this
    if (!clamped) return vector
    const width = stateWidth(model)
    return vector.map((x, i) => (clamped[Math.floor(i / width)] === BLANK ? x : 0))
  }
}

/** Where a step starts from: softmax(z) where the model normalises every step, else the state itself. */
function stepBase({ model }: EnergyEngine, state: Float32Array): Float32Array {
  const { normalize, space } = model.answer
  if (space !== 'vocab' || normalize !== 'every_step') return state
  const width = stateWidth(model)
  const base = new Float32Array(state.length)
  for (let from = 0; from < base.length; from += width) {
    const z = state.subarray(from, from + width)
    const top = z.reduce((most, x) => Math.max(most, x), -Infinity)
    const total = z.reduce((sum, x) => sum + Math.exp(x - top), 0)
    z.forEach((x, i) => (base[from + i] = Math.exp(x - top) / total))
  }
  return base
}

/** Steps with other work after which a probe takes part all the same. */
const BUSY_STEPS_PER_PROBE = 16

/** Probes in the order of their answers: low-priority work, the first of them a few points at a time. */
export class ProbeQueue {
  private readonly probes = new Set<LandscapeProbe>()
  /** Steps with other work since a probe last took part. */
  private busySteps = 0

  constructor(private readonly isPresent: (state: RequestState) => boolean) {}

  get some(): boolean {
    return this.probes.size > 0
  }

  add(probe: LandscapeProbe): void {
    this.probes.add(probe)
  }

  remove(probe: LandscapeProbe): void {
    this.probes.delete(probe)
  }

  /** The probe that takes part in the next step, if one does. `busy`: the step has other work. */
  next(busy: boolean): LandscapeProbe | undefined {
    for (const probe of this.probes) if (!this.isPresent(probe.state)) this.probes.delete(probe)
    const [probe] = this.probes
    if (!probe || (busy && ++this.busySteps < BUSY_STEPS_PER_PROBE)) return undefined
    this.busySteps = 0
    return probe
  }
}
