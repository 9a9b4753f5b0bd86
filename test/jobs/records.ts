/** A record of a job and a checkpoint, for tests of stores. */
import type { Checkpoint, JobRecord } from '../../src/jobs/store.js'

export const recordOf = (id: string, expires: number | null = null): JobRecord => ({
  id,
  owner: 'alice',
  durable: true,
  steered: false,
  model: 'letters',
  expires,
  job: {
    prompt: 'once',
    client: 'alice',
    maxTokens: 1,
    stop: [],
    reportSteps: false,
    hold: false,
    sampling: {
      temperature: 0,
      topP: 1,
      topK: 0,
      seed: 7,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: {},
    },
    budget: { minSteps: 0, patience: 3, candidates: 1, select: 'min', noise: 0, keep: 'best' },
  } as unknown as JobRecord['job'],
  request: { input: 'é' },
  result: null,
})

export const checkpoint: Checkpoint = {
  next: 1,
  writer: { text: 'é' },
  thought: Uint8Array.of(0, 255, 7),
  steps: 3,
  steered: 0,
  limits: { maxSteps: 9 },
}
