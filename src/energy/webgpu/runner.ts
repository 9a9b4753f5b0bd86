/** From rows to submissions: uploads rows and uniforms, records programs pass by pass, reads back. */
import type { Activations } from './activations.js'
import { type Device, type ReadBack, uniformStride } from './device.js'
import { type Program, record, type Round, type State } from './program.js'
import { cutPasses, type DeviceRow, packRows, roundWords } from './device-rows.js'
import type { Shape } from './shape.js'

/** What fits one submission. */
export const submission = { rows: 16_384, programs: 512 } as const

export const resultNumbers = 8

interface PassProgram {
  program: Program
  /** As of `Round`. */
  probe?: boolean
}

export interface Batch {
  rows: readonly DeviceRow[]
  /** Rows of each round; rounds follow each other. */
  rounds: readonly number[]
  /** Positions of a row. */
  block: number
  /** Those of one pass with these rows, in order. */
  programs: (rows: readonly DeviceRow[]) => readonly PassProgram[]
  top?: number
}

interface Planned {
  round: Round
  programs: readonly PassProgram[]
}

export class Runner {
  constructor(
    private readonly device: Device,
    private readonly shape: Shape,
    private readonly state: State,
    private readonly activations: Activations,
  ) {}

  /** Submits; nothing is read back. */
  enqueue(batch: Batch): void {
    for (const passes of this.submissions(batch))
      this.device.submit(this.record(this.rowsOf(batch, passes), passes))
  }

  /** Submits all at once, and returns the results of all rows: eight numbers each. */
  async results(batch: Batch): Promise<Float32Array> {
    const parts = [...this.submissions(batch)].map((passes) => {
      const rows = this.rowsOf(batch, passes)
      const bytes = 4 * resultNumbers * rows.length
      const encoder = this.record(rows, passes)
      return this.device.submitAndRead(encoder, [{ buffer: this.state.results, from: 0, bytes }])
    })
    const results = new Float32Array(batch.rows.length * resultNumbers)
    let first = 0
    for (const [data] of await Promise.all(parts)) {
      const numbers = new Float32Array(data as ArrayBuffer)
      results.set(numbers, first)
      first += numbers.length
    }
    return results
  }

  /**
   * Submits each pass by itself and gives what the ranges hold after it to `take`, with the numbers of
   * its rows. `upload`: words of a row (batch.block of them) that its kernels find at its token.
   */
  async eachPass(
    batch: Batch,
    ranges: (round: Round) => readonly ReadBack[],
    take: (data: ArrayBuffer[], first: number, rows: number) => void,
    upload?: (row: number) => Int32Array,
  ): Promise<void> {
    for (const pass of this.plan(batch)) {
      const { round } = pass
      if (upload) this.upload(round, upload)
      const rows = this.rowsOf(batch, [pass]).map((row, i) =>
        upload ? { ...row, token: this.tokenAt(i, batch.block) } : row,
      )
      const encoder = this.record(rows, [pass])
      const data = await this.device.submitAndRead(encoder, ranges(round))
      take(data, round.first, round.answers)
    }
  }

  /** Where a row's uploaded words begin, by its number within its pass. */
  private tokenAt(row: number, block: number): number {
    return this.shape.slots * this.shape.block + row * block
  }

  private upload({ answers, block, first }: Round, upload: (row: number) => Int32Array): void {
    const words = new Int32Array(answers * block)
    for (let i = 0; i < answers; i++) words.set(upload(first + i), i * block)
    this.device.write(this.state.tokens, 4 * this.tokenAt(0, block), words)
  }

  private plan(batch: Batch): Planned[] {
    const { positions, scoreNumbers: scores } = this.activations
    const { heads } = this.shape
    const room = { positions, scores }
    const { block, programs, rounds, top = 0 } = batch
    return cutPasses(batch.rows, rounds, { block, heads, room }).map((round) => ({
      round: { ...round, top },
      programs: programs(batch.rows.slice(round.first, round.first + round.answers)),
    }))
  }

  private *submissions(batch: Batch): Generator<Planned[]> {
    let passes: Planned[] = []
    let [rows, programs] = [0, 0]
    for (const pass of this.plan(batch)) {
      const full =
        rows + pass.round.answers > submission.rows ||
        programs + pass.programs.length > submission.programs
      if (full && passes.length > 0) {
        yield passes
        passes = []
        rows = programs = 0
      }
      passes.push(pass)
      rows += pass.round.answers
      programs += pass.programs.length
    }
    if (passes.length > 0) yield passes
  }

  private rowsOf({ rows }: Batch, passes: readonly Planned[]): readonly DeviceRow[] {
    const [first, last] = [passes[0], passes.at(-1)]
    if (!first || !last) return []
    return rows.slice(first.round.first, last.round.first + last.round.answers)
  }

  /** The rows of a submission stand at the beginning of the device's. */
  private record(rows: readonly DeviceRow[], passes: readonly Planned[]): GPUCommandEncoder {
    const { device, shape, state } = this
    device.write(state.rows, 0, packRows(rows, shape))
    const base = passes[0]?.round.first ?? 0
    const recorded = passes.flatMap(({ programs, round }) =>
      programs.map(({ probe = false, program }) => ({
        program,
        round: { ...round, first: round.first - base, probe },
      })),
    )
    const words = uniformStride / 4
    const uniforms = new Uint32Array(recorded.length * words)
    recorded.forEach(({ round }, i) => uniforms.set(roundWords(round), i * words))
    device.write(state.rounds, 0, uniforms)
    const encoder = device.encoder()
    const pass = encoder.beginComputePass()
    recorded.forEach(({ program, round }, i) => record(pass, program, round, i * uniformStride))
    pass.end()
    return encoder
  }
}
