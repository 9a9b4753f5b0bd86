/** From the fields of a request to the job that a worker runs. Knows schemas, and no transport. */
import { randomInt } from 'node:crypto'
import type { Static, TObject } from 'typebox'
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import { type Caps, resolveBudget } from '../../refine/presets.js'
import type { Sampling } from '../../refine/sampling.js'
import type { settings } from '../schemas/settings-schema.js'

export type Settings = Static<TObject<typeof settings>>

/** OpenAI's default of `max_tokens` for completions. */
const MAX_TOKENS = 16

function logitBias(asked: Settings, model: ModelConfig): Readonly<Record<number, number>> {
  const bias = asked.logit_bias ?? {}
  const stranger = Object.keys(bias).find((token) => Number(token) >= model.vocab_size)
  if (stranger === undefined) return bias
  throw new BasinError('out_of_range', {
    param: `logit_bias.${stranger}`,
    bound: `a token from 0 to ${model.vocab_size - 1}`,
    value: stranger,
  })
}

const sampling = (asked: Settings, model: ModelConfig): Sampling => ({
  temperature: asked.temperature ?? model.temperature ?? 1,
  topP: asked.top_p ?? 1,
  topK: asked.top_k ?? 0,
  seed: asked.seed ?? randomInt(2 ** 48 - 1),
  presencePenalty: asked.presence_penalty ?? 0,
  frequencyPenalty: asked.frequency_penalty ?? 0,
  logitBias: logitBias(asked, model),
})

/** Unless it says otherwise, a conversation may fill the context. `prompt`: tokens. */
export function roomAfter(prompt: number, { answer, context_length: length }: ModelConfig): number {
  return Math.max(1, Math.floor((length - prompt - 1) / answer.block) * answer.block)
}

/** What all choices of a request share. Throws `out_of_range` naming the field. */
export function requestFrom(
  asked: Settings,
  model: ModelConfig,
  caps: Caps,
): Omit<EngineRequest, 'id' | 'prompt' | 'client' | 'reportSteps' | 'hold'> {
  const { stop, template, logprobs } = asked
  return {
    maxTokens: asked.max_tokens ?? MAX_TOKENS,
    sampling: sampling(asked, model),
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
    budget: resolveBudget(
      model,
      asked.reasoning_effort ?? undefined,
      asked.refinement ?? undefined,
      caps,
    ),
    ...(typeof template === 'string' && { template }),
    ...(typeof logprobs === 'number' && { logprobs }),
  }
}
