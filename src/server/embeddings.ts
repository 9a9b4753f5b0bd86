/** Texts as vectors: from a request to jobs, from their events to embeddings. */
import { BasinError } from '../errors.js'
import type { EngineClient } from '../generation/client/engine-client.js'
import type { EngineRequest } from '../generation/protocol.js'
import { settledAnswers } from '../generation/settled-answers.js'
import type { ModelConfig } from '../model/config.js'
import { jobOf } from './job.js'
import type { Parts } from './parts.js'
import { cancelAll, endWith, follow } from './runs.js'
import type { EmbeddingRequest } from './schemas/embeddings.js'

type Text = EngineRequest['prompt']

/** The schema has proved the four forms. */
function textsOf(input: EmbeddingRequest['input']): Text[] {
  if (typeof input === 'string') return [input]
  const tokens = input.filter((part) => typeof part === 'number')
  return tokens.length === input.length ? [tokens] : (input as Text[])
}

/** What a vector stands for. A model of whole templates was never shown a text before one. */
export const representationOf = (
  { template }: ModelConfig,
  asked: EmbeddingRequest['representation'],
): 'observed' | 'answer' => asked ?? (template?.length === undefined ? 'observed' : 'answer')

function jobsOf(
  body: EmbeddingRequest,
  { model }: EngineClient,
  limits: Parts['limits'],
  client: string,
): Omit<EngineRequest, 'id'>[] {
  if (typeof body.dimensions === 'number' && body.dimensions !== model.dim) {
    const reason = `embeddings of ${model.name} have ${model.dim}`
    throw new BasinError('not_supported', { param: 'dimensions', reason })
  }
  const represent = representationOf(model, body.representation)
  const { reasoning_effort, refinement } = body
  const settings = { reasoning_effort: reasoning_effort ?? null, refinement: refinement ?? null }
  const shared = {
    ...jobOf({ ...settings, temperature: 0, seed: 0, max_tokens: 0 }, model, limits.caps),
    ...{ client, represent, buffered: true, reportSteps: false, hold: false },
    maxTokens: represent === 'answer' ? model.answer.block : 0,
  }
  return textsOf(body.input).map((text) => {
    const filled = represent === 'answer' && model.template?.length !== undefined
    if (!filled) return { ...shared, prompt: text }
    if (typeof text === 'string') return { ...shared, prompt: '', template: text }
    const reason = `${model.name} needs templates, which are texts`
    throw new BasinError('invalid_request', { param: 'input', reason })
  })
}

/** What is wrong with a prompt is wrong with the input. */
function asInput(error: unknown): unknown {
  if (!(error instanceof BasinError)) return error
  const { param } = error.facts
  if (param !== 'prompt' && param !== 'template') return error
  return new BasinError(error.code, { ...error.facts, param: 'input' }, { cause: error })
}

function unit(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((x) => x / length)
}

/** Base64 of little-endian float32, as OpenAI sends them. */
function packed(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((x, i) => bytes.writeFloatLE(x, i * 4))
  return bytes.toString('base64')
}

/** One vector for each text, in their order; `tokens`: all that was read. */
export async function embed(
  { admission, limits }: Parts,
  body: EmbeddingRequest,
  generation: EngineClient,
  client: string,
  abandoned: AbortSignal,
): Promise<{ vectors: (number[] | string)[]; tokens: number }> {
  const jobs = jobsOf(body, generation, limits, client)
  const vectors: (number[] | string)[] = []
  let tokens = 0
  try {
    // As many at once as a request may have choices.
    for (let from = 0; from < jobs.length; from += limits.choices) {
      const some = jobs.slice(from, from + limits.choices)
      const runs = await endWith(abandoned, () => admission.submit(generation, some))
      const embedOne = async (run: (typeof runs)[number]) => {
        let vector: Float32Array | undefined
        for await (const event of follow(run, admission.ledger(generation, client, 'embeddings'))) {
          if (event.type === 'started') tokens += event.promptTokens
          if (event.type === 'scored') vector = event.representation
          for (const { representation } of settledAnswers(event)) vector = representation
        }
        if (!vector) throw new BasinError('cancelled')
        const told = body.normalize === false ? vector : unit(vector)
        return body.encoding_format === 'base64' ? packed(told) : Array.from(told)
      }
      try {
        vectors.push(...(await Promise.all(runs.map(embedOne))))
      } finally {
        cancelAll(runs)
      }
    }
  } catch (error) {
    throw asInput(error)
  }
  return { vectors, tokens }
}
