/** A job that is computed by several runs: one sequence of events, or a failure. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { RequestStream } from '../../src/generation/client/engine-client.js'
import type { Control, RequestEvent } from '../../src/generation/protocol.js'
import { settledAnswers, settledEvent } from '../../src/generation/settled-answers.js'
import {
  DurableJob,
  type JobSpec,
  type EventWriter,
  type Resumed,
} from '../../src/jobs/durable-job.js'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import type { JobRecord } from '../../src/jobs/store.js'
import { isRecorded } from '../../src/jobs/thinning.js'
import { requestOf } from '../support/engine-bench.js'

/** Events with the text of each answer, and the finish reason at the end. */
class Echo implements EventWriter {
  constructor(private status = 'under way') {}

  open() {
    return { events: [{ type: 'open' }] }
  }

  take(event: RequestEvent) {
    if (event.type === 'settled')
      return { events: settledAnswers(event).map(({ text }) => ({ type: 'text', text })) }
    if (event.type !== 'finished' && event.type !== 'failed') return { events: [] }
    return this.end(event.type)
  }

  recall(event: object) {
    const { type } = event as { type: string }
    if (type !== 'open' && type !== 'text') this.status = type
  }

  cancel() {
    return this.end('cancelled')
  }

  present() {
    return this.status
  }

  memory() {
    return this.status
  }

  private end(status: string) {
    this.status = status
    return { events: [{ type: status }], final: status }
  }
}

const says = (text: string): RequestEvent =>
  settledEvent(
    [
      {
        position: 0,
        text,
        tokens: 1,
        steps: 1,
        energy: { initial: 1, final: 0, best: 0 },
        stopReason: 'max_steps',
        seconds: 0,
      },
    ],
    [0],
  )
const fails = (code: 'engine_unavailable' | 'engine_failed' | 'shutting_down'): RequestEvent => ({
  type: 'failed',
  error: { code, facts: {} },
})
const finished: RequestEvent = {
  type: 'finished',
  finishReason: 'stop',
  text: '',
  usage: { promptTokens: 1, completionTokens: 1 },
  refinement: {
    steps: 1,
    energy: { initial: 1, final: 0, best: 0 },
    candidates: 1,
    converged: false,
    stop_reason: 'max_steps',
  },
}

function runOf(...events: RequestEvent[]): RequestStream {
  async function* tell() {
    for (const event of events) yield await Promise.resolve(event)
  }
  return { id: 'run', events: tell(), control: () => undefined }
}

const recordOf = (durable = true): JobRecord => ({
  id: 'a',
  owner: '',
  durable,
  steered: false,
  model: 'm',
  job: requestOf('a'),
  request: null,
  result: null,
  expires: null,
})

/** A thought of this run, with so many controls in it. */
const saves = (steered = 0): RequestEvent => ({
  type: 'saved',
  thought: Uint8Array.of(7),
  steps: 1,
  steered,
  limits: {},
  seconds: 0,
})

/** A run that notes what it is told. */
function heardRun(...events: RequestEvent[]) {
  const heard: Control[] = []
  return { run: { ...runOf(...events), control: (control: Control) => heard.push(control) }, heard }
}

function specOf(
  runs: readonly RequestStream[],
  report: (error: unknown) => void = (error) => {
    throw error
  },
): JobSpec {
  const waiting = [...runs]
  return {
    writer: (memory) => new Echo(memory as string | undefined),
    submit: (resumed) => {
      submissions.push(resumed)
      const next = waiting.shift()
      return next ? Promise.resolve(next) : Promise.reject(new Error('no more runs'))
    },
    same: (first, again) =>
      JSON.stringify({ ...first, sequence_number: 0 }) ===
      JSON.stringify({ ...again, sequence_number: 0 }),
    keep: 1000,
    report,
    watch: { saved: () => undefined, resumed: () => undefined, unfit: () => undefined },
  }
}

/** Where each submission began. */
const submissions: (Resumed | undefined)[] = []
beforeEach(() => {
  submissions.length = 0
})

/** A job that is computed by these runs, one after the other. */
async function told(
  record: JobRecord,
  ...runs: RequestStream[]
): Promise<{ job: DurableJob; story: string[] }> {
  const job = new DurableJob(record, specOf(runs), new MemoryStore(1e6))
  job.begin()
  await job.done
  const story: string[] = []
  for await (const line of job.journal.follow(-1, new AbortController().signal)) {
    const event = JSON.parse(line) as { type: string; text?: string; sequence_number: number }
    expect(event.sequence_number).toBe(story.length)
    story.push(event.text ?? event.type)
  }
  return { job, story }
}

describe('a job whose engine is lost', () => {
  it('goes on with the next run', async () => {
    const { story } = await told(
      recordOf(),
      runOf(says('a'), says('b'), fails('engine_unavailable')),
      runOf(says('a'), says('b'), says('c'), finished),
    )
    expect(story).toEqual(['open', 'a', 'b', 'c', 'finished'])
  })

  it('fails where the next run gives other events', async () => {
    const { job, story } = await told(
      recordOf(),
      runOf(says('a'), says('b'), fails('engine_unavailable')),
      runOf(says('a'), says('x'), says('c'), finished),
    )
    expect(story).toEqual(['open', 'a', 'b', 'failed'])
    expect(job.record.result).toBe('failed')
  })

  it('fails after the third loss', async () => {
    const lost = () => runOf(says('a'), fails('engine_unavailable'))
    const { story } = await told(recordOf(), lost(), lost(), lost(), lost())
    expect(story).toEqual(['open', 'a', 'failed'])
  })

  it('fails at once where it is not durable or was steered', async () => {
    const lost = () => runOf(says('a'), fails('engine_unavailable'))
    const steered = { ...recordOf(), steered: true }
    for (const record of [recordOf(false), steered]) {
      expect((await told(record, lost(), runOf(says('a'), finished))).story).toEqual([
        'open',
        'a',
        'failed',
      ])
    }
  })
})

describe('a job with a checkpoint', () => {
  const storyOf = async (job: DurableJob): Promise<string[]> => {
    await job.done
    const lines: string[] = []
    for await (const line of job.journal.follow(-1, new AbortController().signal)) lines.push(line)
    return lines.map((line) => {
      const event = JSON.parse(line) as { type: string; text?: string }
      return event.text ?? event.type
    })
  }

  it('goes on from it where its engine is lost, and gives what readers have seen once', async () => {
    const first = runOf(says('a'), saves(), says('b'), says('c'), fails('engine_unavailable'))
    const { heard, run } = heardRun(says('b'), says('c'), says('d'), finished)
    const { story } = await told(recordOf(), first, run)
    expect(story).toEqual(['open', 'a', 'b', 'c', 'd', 'finished'])
    expect(submissions.slice(1)).toEqual([
      { from: { thought: Uint8Array.of(7), repeats: true }, limits: {} },
    ])
    expect(heard).toEqual([{ type: 'repeated' }])
  })

  it('fails where what readers have seen comes out differently', async () => {
    const first = runOf(says('a'), saves(), says('b'), fails('engine_unavailable'))
    const { story } = await told(recordOf(), first, runOf(says('x'), finished))
    expect(story).toEqual(['open', 'a', 'b', 'failed'])
  })

  it('goes on where it was steered, and gives the controls that came later again', async () => {
    const store = new MemoryStore(1e6)
    const { heard, run } = heardRun(says('b'), says('c'), finished)
    const steers = [{ type: 'extend', steps: 3 }, { type: 'finish' }] as const
    const record = { ...recordOf(), steered: true, steers: [...steers] }
    const checkpoint = {
      next: 2,
      writer: 'under way',
      thought: Uint8Array.of(7),
      steps: 1,
      steered: 1,
      limits: {},
    }
    const events = ['open', 'a', 'b'].map((text, i) =>
      JSON.stringify({
        ...(i === 0 ? { type: 'open' } : { type: 'text', text }),
        sequence_number: i,
      }),
    )
    const job = new DurableJob(record, specOf([run]), store, { events, checkpoint })
    expect(job.resumable).toBe(true)
    job.begin()
    expect(await storyOf(job)).toEqual(['open', 'a', 'b', 'c', 'finished'])
    expect(heard).toEqual([{ type: 'repeated' }, { type: 'finish' }])
  })

  it('keeps a control back until what readers have seen has come again', async () => {
    const { heard, run } = heardRun()
    let go = (): void => undefined
    const gate = new Promise<void>((resolve) => (go = resolve))
    async function* tell() {
      await gate
      yield says('b')
      yield finished
    }
    const spec = specOf([{ ...run, events: tell() }])
    const checkpoint = {
      next: 1,
      writer: 'under way',
      thought: Uint8Array.of(7),
      steps: 1,
      steered: 0,
      limits: {},
    }
    const events = ['{"type":"open"}', '{"type":"text","text":"b"}']
    const job = new DurableJob(recordOf(), spec, new MemoryStore(1e6), { events, checkpoint })
    job.begin()
    await new Promise(setImmediate)
    job.steer({ type: 'finish' })
    expect(heard).toEqual([])
    go()
    await job.done
    expect(heard).toEqual([{ type: 'repeated' }, { type: 'finish' }])
    expect(job.record).toMatchObject({ steered: true, steers: [{ type: 'finish' }] })
  })

  it('begins anew where it does not fit', async () => {
    const misfit: RequestEvent = {
      type: 'failed',
      error: { code: 'invalid_state', facts: { reason: 'it is damaged' } },
    }
    const { story } = await told(
      recordOf(),
      runOf(says('a'), saves(), says('b'), fails('engine_unavailable')),
      runOf(misfit),
      runOf(says('a'), says('b'), finished),
    )
    expect(story).toEqual(['open', 'a', 'b', 'finished'])
    expect(submissions.map((resumed) => resumed !== undefined)).toEqual([false, true, false])
  })

  it('asks for none before it has begun, and for no second one before it has the first', async () => {
    const { heard, run } = heardRun()
    const opened: (() => void)[] = []
    const gates = [0, 1].map(() => new Promise<void>((resolve) => opened.push(resolve)))
    async function* tell() {
      yield says('a')
      await gates[0]
      yield saves()
      await gates[1]
      yield finished
    }
    const job = new DurableJob(recordOf(), specOf([]), new MemoryStore(1e6))
    job.begin({ ...run, events: tell() })
    job.save()
    expect(heard).toEqual([])
    await new Promise(setImmediate)
    for (let i = 0; i < 3; i++) job.save()
    expect(heard).toEqual([{ type: 'save' }])
    opened[0]?.()
    await new Promise(setImmediate)
    job.save()
    expect(heard).toEqual([{ type: 'save' }, { type: 'save' }])
    opened[1]?.()
    await job.done
  })

  it('is left with its next one where its process goes down', async () => {
    class DurableStore extends MemoryStore {
      override readonly durable = true
      written: unknown[] = []
      override write(...[id, entry]: Parameters<MemoryStore['write']>) {
        if (entry.checkpoint) this.written.push(entry.checkpoint.next)
        return super.write(id, entry)
      }
    }
    const store = new DurableStore(1e6)
    const job = new DurableJob(recordOf(), specOf([]), store)
    const leaving = { ends: Promise.resolve() }
    async function* tell() {
      yield says('a')
      await new Promise(setImmediate)
      leaving.ends = job.handOver()
      yield saves()
      yield says('b')
    }
    job.begin({ ...runOf(), events: tell() })
    await job.done
    await leaving.ends
    expect(store.written).toEqual([2])
    expect(store.events('a', 0, 9)).toHaveLength(2)
    expect(job.ended).toBe(false)
  })
})

it('a job that fails for another reason is not run again', async () => {
  const { story } = await told(recordOf(), runOf(says('a'), fails('engine_failed')))
  expect(story).toEqual(['open', 'a', 'failed'])
})

it('without a durable store a job ends with its process', async () => {
  const { story } = await told(recordOf(), runOf(says('a'), fails('shutting_down')))
  expect(story).toEqual(['open', 'a', 'failed'])
})

it('records a bounded number of any number of steps', () => {
  const count = (steps: number) =>
    Array.from({ length: steps }, (_, n) => n).filter(isRecorded).length
  expect(count(1000)).toBe(1000)
  expect(count(2000)).toBe(1500)
  expect(count(6000)).toBe(2250)
  expect(count(100_000)).toBeLessThan(4600)
})

describe('a store that cannot be written to', () => {
  /** Fails until it is mended. */
  class FailingStore extends MemoryStore {
    override readonly durable = true
    broken = true

    override write(...entry: Parameters<MemoryStore['write']>): Promise<void> {
      return this.broken ? Promise.reject(new Error('no space')) : super.write(...entry)
    }
  }

  it('delays events, and none is published before it is stored', async () => {
    const store = new FailingStore(1e6)
    const reported: unknown[] = []
    const job = new DurableJob(
      recordOf(),
      specOf([runOf(says('a'), finished)], (e) => reported.push(e)),
      store,
    )
    job.begin()
    await new Promise((resolve) => setTimeout(resolve, 250))
    expect(job.journal.published).toBe(0)
    expect(job.journal.length).toBe(3)
    store.broken = false
    await job.done
    expect(job.journal.published).toBe(3)
    expect(store.events('a', 0, 9)).toHaveLength(3)
    expect(reported).toHaveLength(1)
  })

  it('does not keep a process that goes down', async () => {
    const job = new DurableJob(
      recordOf(),
      specOf([runOf(says('a'), finished)], () => undefined),
      new FailingStore(1e6),
    )
    job.begin()
    await new Promise((resolve) => setTimeout(resolve, 50))
    job.leave()
    await job.done
    expect(job.journal.published).toBe(0)
  })
})
