/** A job that is told by several runs: one story, or an honest end. */
import { describe, expect, it } from 'vitest'
import type { RequestStream } from '../../src/generation/client/engine-client.js'
import type { RequestEvent } from '../../src/generation/protocol.js'
import { settledAnswers, settledEvent } from '../../src/generation/settled-answers.js'
import { DurableJob, type Making, type Narrator } from '../../src/jobs/durable-job.js'
import { MemoryStore } from '../../src/jobs/memory-store.js'
import type { JobRecord } from '../../src/jobs/store.js'
import { isTold } from '../../src/jobs/thinning.js'
import { requestOf } from '../support/engine-bench.js'

/** Says the text of each answer, and at the end how it ended. */
class Echo implements Narrator {
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
  ...{ type: 'failed', error: { code, facts: {} } },
})
const finished: RequestEvent = {
  ...{ type: 'finished', finishReason: 'stop', text: '' },
  usage: { promptTokens: 1, completionTokens: 1 },
  refinement: {
    ...{ steps: 1, energy: { initial: 1, final: 0, best: 0 }, candidates: 1, converged: false },
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
  ...{ id: 'a', owner: '', durable, steered: false, model: 'm', job: requestOf('a') },
  ...{ request: null, result: null, expires: null },
})

/** A job whose runs are these, one after the other. */
async function told(
  record: JobRecord,
  ...runs: RequestStream[]
): Promise<{ job: DurableJob; story: string[] }> {
  const waiting = [...runs]
  const making: Making = {
    narrator: () => new Echo(),
    submit: () => {
      const next = waiting.shift()
      return next ? Promise.resolve(next) : Promise.reject(new Error('no more runs'))
    },
    enter: () => undefined,
    same: (first, again) =>
      JSON.stringify({ ...first, sequence_number: 0 }) ===
      JSON.stringify({ ...again, sequence_number: 0 }),
    keep: 1000,
    report: (error) => {
      throw error
    },
  }
  const job = new DurableJob(record, making, new MemoryStore(1e6))
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
  it('is told on by the next run', async () => {
    const { story } = await told(
      recordOf(),
      runOf(says('a'), says('b'), fails('engine_unavailable')),
      runOf(says('a'), says('b'), says('c'), finished),
    )
    expect(story).toEqual(['open', 'a', 'b', 'c', 'finished'])
  })

  it('has failed where the next run says something else', async () => {
    const { job, story } = await told(
      recordOf(),
      runOf(says('a'), says('b'), fails('engine_unavailable')),
      runOf(says('a'), says('x'), says('c'), finished),
    )
    expect(story).toEqual(['open', 'a', 'b', 'failed'])
    expect(job.record.result).toBe('failed')
  })

  it('has failed after the third time', async () => {
    const lost = () => runOf(says('a'), fails('engine_unavailable'))
    const { story } = await told(recordOf(), lost(), lost(), lost(), lost())
    expect(story).toEqual(['open', 'a', 'failed'])
  })

  it('has failed at once where it has a connection, or had its course changed', async () => {
    const lost = () => runOf(says('a'), fails('engine_unavailable'))
    const steered = { ...recordOf(), steered: true }
    for (const record of [recordOf(false), steered]) {
      expect((await told(record, lost(), runOf(says('a'), finished))).story).toEqual([
        ...['open', 'a', 'failed'],
      ])
    }
  })
})

it('a job that has failed for another reason has failed', async () => {
  const { story } = await told(recordOf(), runOf(says('a'), fails('engine_failed')))
  expect(story).toEqual(['open', 'a', 'failed'])
})

it('without a store that outlives it, a job ends with its process', async () => {
  const { story } = await told(recordOf(), runOf(says('a'), fails('shutting_down')))
  expect(story).toEqual(['open', 'a', 'failed'])
})

it('of steps without end a bounded number is told', () => {
  const count = (steps: number) => Array.from({ length: steps }, (_, n) => n).filter(isTold).length
  expect(count(1000)).toBe(1000)
  expect(count(2000)).toBe(1500)
  expect(count(6000)).toBe(2250)
  expect(count(100_000)).toBeLessThan(4600)
})
