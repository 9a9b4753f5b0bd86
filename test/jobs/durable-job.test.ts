/** A job that is computed by several runs: one sequence of events, or a failure. */
import { describe, expect, it } from 'vitest'
import type { RequestStream } from '../../src/generation/client/engine-client.js'
import type { RequestEvent } from '../../src/generation/protocol.js'
import { settledAnswers, settledEvent } from '../../src/generation/settled-answers.js'
import { DurableJob, type JobSpec, type EventWriter } from '../../src/jobs/durable-job.js'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import type { JobRecord } from '../../src/jobs/store.js'
import { isRecorded } from '../../src/jobs/thinning.js'
import { requestOf } from '../support/engine-bench.js'

/** Events with the text of each answer, and the finish reason at the end. */
class Echo implements EventWriter {
  private status = 'under way'

  open() {
    return { events: [{ type: 'open' }] }
  }

  take(event: RequestEvent) {
    if (event.type === 'settled')
      return { events: settledAnswers(event).map(({ text }) => ({ type: 'text', text })) }
    if (event.type !== 'finished' && event.type !== 'failed') return { events: [] }
    return this.end(event.type)
  }

  cancel() {
    return this.end('cancelled')
  }

  present() {
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

function specOf(
  runs: readonly RequestStream[],
  report: (error: unknown) => void = (error) => {
    throw error
  },
): JobSpec {
  const waiting = [...runs]
  return {
    writer: () => new Echo(),
    submit: () => {
      const next = waiting.shift()
      return next ? Promise.resolve(next) : Promise.reject(new Error('no more runs'))
    },
    same: (first, again) =>
      JSON.stringify({ ...first, sequence_number: 0 }) ===
      JSON.stringify({ ...again, sequence_number: 0 }),
    keep: 1000,
    report,
  }
}

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
