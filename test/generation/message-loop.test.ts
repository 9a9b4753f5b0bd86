/** Reports and steps in flight, over a real message channel. */
import { once } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { MessageLoop } from '../../src/generation/core/message-loop.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import type { FromWorker, EngineRequest, ToWorker } from '../../src/generation/protocol.js'
import { createReportAck, acknowledge } from '../../src/generation/report-ack.js'
import { requestOf, letters, unbounded } from '../support/engine-bench.js'
import { LateEngine } from '../support/late-engine.js'
import { QuadraticEngine } from '../support/quadratic-engine.js'

type Report = Extract<FromWorker, { type: 'events' }>

/** The listener's end of a message loop that takes reports one by one. */
class Listener {
  readonly engine = new QuadraticEngine({})
  readonly late = new LateEngine(this.engine)
  readonly reports: Report[] = []
  private readonly channel = new MessageChannel()
  private readonly reportAck = createReportAck()
  private closed: Promise<unknown> | undefined

  constructor({ holdSeconds = 60, late = false } = {}) {
    const tokenizer = letters()
    const options = { prefillChunk: 32, holdSeconds, pauseSeconds: 60 }
    const engine = late ? this.late : this.engine
    const core = new EngineCore(engine, tokenizer, options)
    const { port1, port2 } = this.channel
    const { reportAck } = this
    const close = () => engine.close()
    new MessageLoop(port1, core, { reportAck, close })
    port2.on('message', (message: FromWorker) => {
      if (message.type === 'events') this.reports.push(message)
    })
  }

  say(message: ToWorker): void {
    this.channel.port2.postMessage(message)
  }

  submit(request: EngineRequest): void {
    this.say({ type: 'submit', request })
  }

  /** The report that follows the acknowledgement of the last one. */
  async next(): Promise<Report> {
    const { length } = this.reports
    if (length > 0) this.acknowledge()
    await expect.poll(() => this.reports.length).toBe(length + 1)
    return this.reports[length] as Report
  }

  /** Acknowledges the last report, by a message if the worker waits for one. */
  acknowledge(): void {
    if (acknowledge(this.reportAck)) this.say({ type: 'acknowledged' })
  }

  /** Asks a question: messages that were sent before have been taken when it is answered. */
  async ask(): Promise<void> {
    const reply = once(this.channel.port2, 'message')
    this.say({ type: 'ping', id: 0 })
    await reply
  }

  close(): Promise<unknown> {
    this.closed ??= once(this.channel.port2, 'close')
    this.say({ type: 'close' })
    return this.closed
  }
}

let listener: Listener
afterEach(() => listener.close())

const streamed = (id: string) => requestOf(id, { budget: unbounded(), reportSteps: true })
const steps = ({ events }: Report) =>
  events.flatMap(({ event }) => (event.type === 'step' ? [event.step] : []))

describe('reports', () => {
  it('wait until the one before is acknowledged, and then the core rests', async () => {
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

  it('bring all that happened meanwhile, in order', async () => {
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

  it('account for every step, also of answers that nobody follows', async () => {
    listener = new Listener()
    listener.submit(requestOf('a', { budget: unbounded() }))
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

  it('are sent at once when there is nothing more to do', async () => {
    listener = new Listener()
    listener.submit(requestOf('a'))
    let events = (await listener.next()).events
    while (events.at(-1)?.event.type !== 'finished') events = (await listener.next()).events
    for (let i = 0; i < 100; i++) await listener.ask()
    listener.acknowledge()
    for (let i = 0; i < 100; i++) await listener.ask()
    const { length } = listener.reports
    listener.submit(requestOf('b'))
    await expect.poll(() => listener.reports.length).toBe(length + 1)
  })

  it('say why a request was refused', async () => {
    listener = new Listener()
    listener.submit(requestOf('a', { prompt: '', maxTokens: 10_000 }))
    const { events } = await listener.next()
    expect(events).toMatchObject([{ id: 'a', event: { type: 'failed' } }])
  })
})

describe('a step in flight', () => {
  const endless = (id: string) => requestOf(id, { budget: unbounded() })
  const typesOf = (id: string) =>
    listener.reports.flatMap(({ events }) =>
      events.flatMap((each) => (each.id === id ? [each.event.type] : [])),
    )
  const stepsOf = (id: string) =>
    listener.reports.flatMap(({ events }) =>
      events.flatMap(({ event, id: of }) =>
        of === id && event.type === 'finished' ? [event.refinement.steps] : [],
      ),
    )

  /** Takes every report as soon as it comes. */
  const follow = async (until: () => boolean) => {
    await expect
      .poll(() => {
        listener.acknowledge()
        return until()
      })
      .toBe(true)
  }

  /** An endless answer in descent, whose engine keeps its next answer back. */
  async function blocked(): Promise<() => void> {
    listener.submit(endless('a'))
    await follow(() => listener.engine.calls > 10)
    const release = listener.late.block()
    await expect.poll(() => listener.late.inFlight).toBe(true)
    return release
  }

  it('answers questions, and changes no request before its end', async () => {
    listener = new Listener({ late: true })
    const release = await blocked()
    const taken = listener.engine.calls
    listener.say({ type: 'control', id: 'a', control: { type: 'cancel' } })
    listener.submit(requestOf('b', { maxTokens: 2 }))
    await listener.ask()
    expect(listener.late.inFlight).toBe(true)
    expect(listener.engine).toMatchObject({ calls: taken, held: { contexts: 1, slots: 1 } })
    expect(typesOf('a')).not.toContain('finished')
    release()
    await follow(() => typesOf('b').includes('finished'))
    expect(typesOf('a')).toEqual(['started', 'finished'])
    expect(typesOf('b')).toEqual(['started', 'settled', 'finished'])
    expect(listener.engine.held).toEqual({ contexts: 0, slots: 0 })
  })

  it('ends before controls take effect, in their order', async () => {
    listener = new Listener({ late: true })
    const release = await blocked()
    listener.say({ type: 'control', id: 'a', control: { type: 'pause' } })
    await listener.ask()
    release()
    await expect.poll(() => listener.late.inFlight).toBe(false)
    await follow(() => listener.reports.at(-1)?.stats.paused === 1)
    const calls = listener.engine.calls
    for (let i = 0; i < 100; i++) await listener.ask()
    expect(listener.engine.calls).toBe(calls)
    listener.say({ type: 'control', id: 'a', control: { type: 'extend', steps: 1 } })
    listener.say({ type: 'control', id: 'a', control: { type: 'finish' } })
    await follow(() => typesOf('a').includes('finished'))
    expect(stepsOf('a')[0]).toBeGreaterThan(0)
  })

  it('ends before a held answer expires', async () => {
    listener = new Listener({ late: true, holdSeconds: 0.5 })
    listener.submit(requestOf('held', { maxTokens: 1, hold: true }))
    await follow(() => typesOf('held').includes('finished'))
    const release = await blocked()
    await new Promise((resolve) => setTimeout(resolve, 600))
    await listener.ask()
    expect(listener.engine.held.contexts).toBe(2)
    release()
    await follow(() => listener.reports.some(({ released }) => released.includes('held')))
    expect(listener.engine.held.contexts).toBe(1)
  })

  it('ends before its engine is closed', async () => {
    listener = new Listener({ late: true })
    const release = await blocked()
    const closed = listener.close()
    for (let i = 0; i < 10; i++) await new Promise(setImmediate)
    expect(listener.engine.held).toEqual({ contexts: 1, slots: 1 })
    release()
    await closed
    expect(listener.engine.held).toEqual({ contexts: 0, slots: 0 })
  })
})
