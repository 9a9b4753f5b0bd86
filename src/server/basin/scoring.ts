/** Energies of answers that somebody else wrote. */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import type { Admission } from '../requests/request-service.js'
import { requestFrom, type Settings } from '../requests/request-settings.js'
import type { Limits } from '../limits.js'
import { cancelAll, endWith, follow } from '../requests/request-observer.js'
import type { Measure, Score } from '../schemas/score-schema.js'

type Text = EngineRequest['prompt']

export interface Scoring {
  generation: EngineClient
  prompt: Text
  answers: readonly Text[]
  by: Measure
  budget: Pick<Settings, 'reasoning_effort' | 'refinement'>
  /** What errors call the answers. */
  param: string
  /** `/v1/` and this is the route. */
  route: string
  client: string
}

/**
 * A residual energy is 0 where an answer agrees with itself: it judges points of the latent space.
 * Token embeddings are no such points unless the model was trained on whole answers of its own.
 */
export const measureOf = ({ energy, template }: ModelConfig, asked?: Measure | null): Measure =>
  asked ?? (energy.kind === 'residual' && template?.length === undefined ? 'readout' : 'energy')

/** In the order of the answers; `tokens`: all that was read, the prompt once for each answer. */
export async function scoresOf(
  { answers, budget, by, client, generation, param, prompt, route }: Scoring,
  limits: Limits,
  admission: Admission,
  abandoned: AbortSignal,
): Promise<{ scores: Score[]; tokens: number }> {
  if (answers.length > limits.choices) {
    const bound = `at most ${limits.choices}`
    throw new BasinError('out_of_range', { param, bound, value: answers.length })
  }
  const shared = {
    ...requestFrom(
      { ...budget, temperature: 0, max_tokens: 0, seed: 0, logprobs: 0 },
      generation.model,
      limits.caps,
    ),
    ...{ prompt, client, buffered: true, reportSteps: false, hold: false },
  }
  const jobs = answers.map((answer) => ({
    ...shared,
    given: { answer, by: by === 'energy' ? by : ('logprobs' as const), param },
  }))
  const runs = await endWith(abandoned, () => admission.submit(generation, jobs))
  let tokens = 0
  const score = async (index: number): Promise<Score> => {
    const run = runs[index]
    if (!run) throw new BasinError('internal')
    const parts: Score['parts'] = []
    for await (const event of follow(run, admission.ledger(generation, client, route))) {
      if (event.type === 'started') tokens += event.promptTokens
      if (event.type !== 'scored') continue
      const { disagreement, doubt, logprobs, text } = event
      const energy = event.energy ?? -(logprobs ?? []).reduce((sum, each) => sum + each.logprob, 0)
      const terms = disagreement === undefined || doubt === undefined ? {} : { disagreement, doubt }
      parts.push({ text, tokens: event.tokens, energy, ...terms })
    }
    return scoreOf(index, parts)
  }
  try {
    return { scores: await Promise.all(answers.map((_, index) => score(index))), tokens }
  } finally {
    cancelAll(runs)
  }
}

function scoreOf(index: number, parts: Score['parts']): Score {
  const energy = parts.reduce((sum, part) => sum + part.energy, 0)
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0)
  return { object: 'score', index, energy, energy_per_token: energy / tokens, tokens, parts }
}
