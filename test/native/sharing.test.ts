/**
 * Contexts on shared pages, and more contexts than pages: the shipped text model gives every request the
 * text that it gives without sharing.
 */
import { describe, expect, it } from 'vitest'
import { openEngine } from '../../src/energy/open-engine.js'
import { startEngineClient } from '../../src/generation/client/engine-client.js'
import {
  type EngineRequest,
  prefixSharings,
  type TickStats,
  type WorkerOptions,
} from '../../src/generation/protocol.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import { openTokenizer } from '../../src/tokenizer/tokenizer.js'
import { budget, greedy, requestOf } from '../support/engine-bench.js'

const directory = new URL('../../models/stories', import.meta.url).pathname
const tokenizer = openTokenizer(directory)
const beginning =
  'Once upon a time there was a little dog. He liked to run and to jump, and most of all to play in the '

const jobs: EngineRequest[] = Array.from({ length: 8 }, (_, i) =>
  requestOf(`job-${i}`, {
    client: i === 7 ? 'another' : 'someone',
    prompt: beginning + (['park. ', 'sun', 'house with '][i % 3] ?? ''),
    maxTokens: 24 + 12 * (i % 3),
    sampling: { ...greedy, temperature: i % 2, seed: i },
    budget: budget({ maxSteps: 2, candidates: 1 + (i % 2) }),
  }),
)

type Totals = Pick<TickStats, 'prefixHits' | 'prefixQueries' | 'preemptions' | 'observedTokens'>

async function texts(sharePrefixes: boolean, pages: number, given: readonly EngineRequest[]) {
  const engine = await openEngine({
    directory,
    engine: 'native',
    threads: 2,
    slots: 16,
    contexts: 16,
    pages,
  })
  const options = { prefillChunk: 48, holdSeconds: 1, pauseSeconds: 1, sharePrefixes }
  const loop = new EngineCore(engine, tokenizer, options)
  const totals: Totals = { prefixHits: 0, prefixQueries: 0, preemptions: 0, observedTokens: 0 }
  const found = new Map<string, string>()
  for (const job of given) loop.submit(job)
  for (let busy = true; busy;) {
    busy = await loop.step()
    const { events, stats } = loop.report()
    for (const key of Object.keys(totals) as (keyof Totals)[]) totals[key] += stats[key]
    for (const { id, event } of events) {
      if (event.type === 'failed') throw new Error(event.error.code)
      if (event.type === 'finished') found.set(id, event.text)
    }
  }
  await engine.close()
  return { found, totals }
}

describe('texts of the shipped model', () => {
  it('are the same with pages shared, not shared, and too few', async () => {
    const apart = await texts(false, 256, jobs)
    const shared = await texts(true, 256, jobs)
    const short = await texts(true, 15, jobs)
    const shortApart = await texts(false, 15, jobs)
    expect(apart.found.size).toBe(jobs.length)
    for (const other of [shared, short, shortApart]) expect(other.found).toEqual(apart.found)
    expect(apart.totals).toMatchObject({ prefixHits: 0, prefixQueries: 0, preemptions: 0 })
    // One page of sixteen positions, for all but the first of the seven requests of one client.
    expect(shared.totals.prefixHits).toBe(6 * 16)
    expect(shared.totals.observedTokens + shared.totals.prefixHits).toBe(
      apart.totals.observedTokens,
    )
    expect(short.totals.preemptions).toBeGreaterThan(0)
    expect(shortApart.totals.preemptions).toBeGreaterThan(0)
  })
})

/** The number of prompt tokens that a worker found on pages of earlier prompts. */
async function hitsOf(prefixSharing: WorkerOptions['prefixSharing']): Promise<number> {
  const generation = await startEngineClient(
    {
      modelPath: directory,
      engine: 'native',
      threads: 1,
      slots: 4,
      pages: 64,
      maxQueue: 8,
      prefillChunk: 48,
      holdSeconds: 1,
      pauseSeconds: 1,
      watchdogSeconds: 0,
      ...(prefixSharing && { prefixSharing }),
    },
    new URL('../../dist/generation/core/worker.js', import.meta.url),
  )
  let hits = 0
  generation.onTick((stats) => (hits += stats.prefixHits))
  for (const id of ['first', 'second'])
    for await (const { type } of generation.submit(
      requestOf(id, { prompt: beginning, maxTokens: 1 }),
    ).events)
      expect(type).not.toBe('failed')
  await generation.close()
  return hits
}

describe('prefix sharing', () => {
  it('is on unless the operator turns it off', async () => {
    const hits = await Promise.all([undefined, ...prefixSharings].map(hitsOf))
    expect(hits).toEqual([16, 16, 0])
  })
})
