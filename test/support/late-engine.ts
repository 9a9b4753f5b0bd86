/**
 * An engine that answers later: every result of the engine within comes after other work of this thread has
 * had its turn. It refuses a call that is made before the last one has been answered, which nobody may make.
 */
import type {
  Awaitable,
  BeginRow,
  DescendRow,
  EnergyEngine,
  EnergyRow,
  MultiStepRow,
  ObserveRow,
  PointRow,
  ReadRow,
  SynchronousEngine,
} from '../../src/energy/engine.js'
import type { Interrupt } from '../../src/energy/interrupt.js'

export class LateEngine implements EnergyEngine {
  /** A call has not been answered yet. */
  inFlight = false
  private gate: Promise<void> | undefined
  readonly multiStep?: NonNullable<EnergyEngine['multiStep']>

  constructor(private readonly engine: SynchronousEngine) {
    if (engine.multiStep)
      this.multiStep = (row: MultiStepRow, interrupt?: Interrupt) =>
        this.later(() => engine.multiStep?.(row, interrupt) ?? [])
  }

  /** Keeps every answer back until what it returns is called. */
  block(): () => void {
    let release = () => {}
    this.gate = new Promise((resolve) => (release = resolve))
    return () => {
      this.gate = undefined
      release()
    }
  }

  get model() {
    return this.engine.model
  }

  get info() {
    return this.engine.info
  }

  get capacity() {
    return this.engine.capacity
  }

  get identity() {
    return this.engine.identity
  }

  save(slot: number) {
    return this.later(() => this.engine.save(slot))
  }

  restore(slot: number, contextId: number, state: Uint8Array): Awaitable<void> {
    return this.later(() => {
      this.engine.restore(slot, contextId, state)
    })
  }

  observe(rows: readonly ObserveRow[]): Awaitable<void> {
    return this.later(() => {
      this.engine.observe(rows)
    })
  }

  encode(rows: readonly ObserveRow[]) {
    return this.later(() => this.engine.encode(rows))
  }

  begin(rows: readonly BeginRow[]): Awaitable<void> {
    return this.later(() => {
      this.engine.begin(rows)
    })
  }

  descend(rows: readonly DescendRow[], interrupt?: Interrupt) {
    return this.later(() => this.engine.descend(rows, interrupt))
  }

  energy(rows: readonly EnergyRow[]) {
    return this.later(() => this.engine.energy(rows))
  }

  read(rows: readonly ReadRow[]) {
    return this.later(() => this.engine.read(rows))
  }

  points(rows: readonly PointRow[]) {
    return this.later(() => this.engine.points(rows))
  }

  release(contextId: number): void {
    if (this.inFlight) throw new Error('a context is released while a call is in flight')
    this.engine.release(contextId)
  }

  memory(): number {
    return this.engine.memory()
  }

  close(): Awaitable<void> {
    return this.later(() => {
      this.engine.close()
    })
  }

  /** Nothing is computed before other work has had its turn. */
  private async later<T>(answer: () => T): Promise<T> {
    if (this.inFlight) throw new Error('a call is made while another is in flight')
    this.inFlight = true
    await (this.gate ?? new Promise(setImmediate))
    try {
      return answer()
    } finally {
      this.inFlight = false
    }
  }
}
