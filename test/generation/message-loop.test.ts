/** Flow control between a loop and who listens to it, over a real message channel. */
import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { drive } from '../../src/generation/core/message-loop.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import type { FromWorker, EngineRequest, ToWorker } from '../../src/generation/protocol.js'
import { createReportAck, acknowledge } from '../../src/generation/report-ack.js'
import { jobOf, letters, unbounded } from '../support/loops.js'
import { QuadraticEngine } from '../support/quadratic-engine.js'

type Report = Extract<FromWorker, { type: 'events' }>

/** The listener's end of a driven loop that takes reports one by one. */
class Listener {
  readonly engine = new QuadraticEngine({})
  readonly reports: Report[] = []
  private readonly channel = new MessageChannel()
  private readonly receipt = createReportAck()

  constructor() {
    const tokenizer = letters()
    const options = { prefillChunk: 32, holdSeconds: 60, pauseSeconds: 60 }
    const loop = new EngineCore(this.engine, tokenizer, options)
    const { port1, port2 } = this.channel
    drive(port1, loop, { chat: undefined, tokenizer }, () => undefined, this.receipt)
    port2.on('message', (message: FromWorker) => {
      if (message.type === 'events') this.reports.push(message)
    })
  }

  say(message: ToWorker): void {
    this.channel.port2.postMessage(message)
  }

  submit(job: EngineRequest): void {
    this.say({ type: 'submit', job })
  }

  /** The report that follows when the last was heard. */
  async next(): Promise<Report> {
    const { length } = this.reports
    if (length > 0) this.hear()
    await expect.poll(() => this.reports.length).toBe(length + 1)
    return this.reports[length] as Report
  }

  /** The last report is dealt with; who waits for that is told. */
  hear(): void {
    if (acknowledge(this.receipt)) this.say({ type: 'acknowledged' })
  }

  /** The worker answers a question, so whatever it would do before has been done. */
  async ask(): Promise<void> {
    const reply = once(this.channel.port2, 'message')
    this.say({ type: 'tokenize', id: 0, text: '' })
    await reply
  }

  async close(): Promise<void> {
    this.say({ type: 'close' })
    await once(this.channel.port2, 'close')
  }
}

let listener: Listener
afterEach(() => listener.close())

const streamed = (id: string) => jobOf(id, { budget: unbounded(), reportSteps: true })
const steps = ({ events }: Report) =>
  events.flatMap(({ event }) => (event.type === 'step' ? [event.step] : []))

describe('a report', () => {
  it('waits until the one before was heard, while the loop rests', async () => {
    listener = new Listener()
    listener.submit(streamed('a'))
    await listener.next()
    const calls = () => listener.engine.calls
    await expect.poll(calls).toBeGreaterThan(100)
    for (let i = 0; i < 1000; i++) await listener.ask()
    const taken = calls()
    for (let i = 0; i < 1000; i++) await listener.ask()
    expect(calls()).toBe(taken)
    expect(listener.reports).toHaveLength(1)
  })

  it('brings all that happened meanwhile, in order', async () => {
    listener = new Listener()
    listener.submit(streamed('a'))
    const seen: number[] = []
    while (seen.length < 1000) {
      const report = await listener.next()
      expect(report.events.length).toBeLessThanOrEqual(130)
      seen.push(...steps(report))
    }
    expect(seen).toEqual(Array.from(seen, (_, i) => i + 1))
  })

  it('accounts for every tick, also of answers that nobody watches', async () => {
    listener = new Listener()
    listener.submit(jobOf('a', { budget: unbounded() }))
    let rows = 0
    const count = ({ stats: { ticks } }: Report) => {
      expect(ticks.length).toBeLessThanOrEqual(1024)
      for (const tick of ticks) rows += tick.rows * tick.steps
    }
    while (rows < 3000) count(await listener.next())
    listener.say({ type: 'control', id: 'a', control: { type: 'cancel' } })
    for (;;) {
      const report = await listener.next()
      count(report)
      const [end] = report.events
      if (!end) continue
      expect(end.event).toMatchObject({ type: 'finished', refinement: { steps: rows } })
      break
    }
  })

  it('of an ending follows at once when the loop has no more to do', async () => {
    listener = new Listener()
    listener.submit(jobOf('a'))
    let events = (await listener.next()).events
    while (events.at(-1)?.event.type !== 'finished') events = (await listener.next()).events
    for (let i = 0; i < 100; i++) await listener.ask()
    listener.hear()
    for (let i = 0; i < 100; i++) await listener.ask()
    const { length } = listener.reports
    listener.submit(jobOf('b'))
    await expect.poll(() => listener.reports.length).toBe(length + 1)
  })

  it('tells what was refused', async () => {
    listener = new Listener()
    listener.submit(jobOf('a', { prompt: '', maxTokens: 10_000 }))
    const { events } = await listener.next()
    expect(events).toMatchObject([{ id: 'a', event: { type: 'failed' } }])
  })
})
