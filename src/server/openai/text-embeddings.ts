/** Texts as vectors: from a request to those for an engine, and from their events to embeddings. */
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import type { ModelConfig } from '../../model/config.js'
import type { AppContext } from '../context.js'
import type { Requester } from '../requests/requester.js'
import type { Limits } from '../limits.js'
import type { NewRequest } from '../requests/request-service.js'
import { requestFrom } from '../requests/request-settings.js'
import { followAll } from '../requests/request-service.js'
import type { EmbeddingRequest, Embeddings } from '../schemas/embedding-schema.js'

type Text = EngineRequest['prompt']

/** The schema admits four forms only. */
function textsOf(input: EmbeddingRequest['input']): Text[] {
  if (typeof input === 'string') return [input]
  const tokens = input.filter((part) => typeof part === 'number')
  return tokens.length === input.length ? [tokens] : (input as Text[])
}

/** What a vector stands for. A model that fills templates was never trained on a text without an answer. */
const representationOf = (
  { template }: ModelConfig,
  asked: EmbeddingRequest['representation'],
): 'observed' | 'answer' => asked ?? (template?.length === undefined ? 'observed' : 'answer')

function requestsOf(
  body: EmbeddingRequest,
  represent: 'observed' | 'answer',
  model: ModelConfig,
  limits: Limits,
): NewRequest[] {
  if (typeof body.dimensions === 'number' && body.dimensions !== model.dim) {
    const reason = `embeddings of ${model.name} have ${model.dim}`
    throw new BasinError('not_supported', { param: 'dimensions', reason })
  }
  const { reasoning_effort = null, refinement = null } = body
  const settings = { reasoning_effort, refinement, temperature: 0, seed: 0, max_tokens: 0 }
  const shared = {
    ...requestFrom(settings, model, limits),
    represent,
    maxTokens: represent === 'answer' ? model.answer.block : 0,
    buffered: true,
    reportSteps: false,
    hold: false,
  }
  const filled = represent === 'answer' && model.template?.length !== undefined
  return textsOf(body.input).map((text) => {
    if (!filled) return { ...shared, prompt: text }
    if (typeof text === 'string') return { ...shared, prompt: '', template: text }
    const reason = `${model.name} needs templates, which are texts`
    throw new BasinError('invalid_request', { param: 'input', reason })
  })
}

/** What engines call a prompt or a template is the `input` of this API. */
function asInputError(error: unknown): unknown {
  if (!(error instanceof BasinError)) return error
  const { param } = error.facts
  if (param !== 'prompt' && param !== 'template') return error
  return new BasinError(error.code, { ...error.facts, param: 'input' }, { cause: error })
}

function normalized(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector)
  return length === 0 ? vector : vector.map((x) => x / length)
}

/** Base64 of little-endian float32, as OpenAI sends them. */
function packed(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((x, i) => bytes.writeFloatLE(x, i * 4))
  return bytes.toString('base64')
}

/** One vector for each text, in their order. `tokens`: all that were observed. */
async function vectorsOf(
  texts: readonly NewRequest[],
  { limits, requests }: Pick<AppContext, 'limits' | 'requests'>,
  { client, disconnected: signal, engine }: Requester,
): Promise<{ vectors: Float32Array[]; tokens: number }> {
  const vectors: Float32Array[] = []
  let tokens = 0
  // As many run at once as a request may have choices.
  for (let from = 0; from < texts.length; from += limits.choices) {
    const some = texts.slice(from, from + limits.choices)
    const submitted = await requests.submit(engine, some, { client, route: 'embeddings', signal })
    await followAll(submitted, (event, index) => {
      if (event.type === 'started') tokens += event.promptTokens
      const scored = event.type === 'scored' ? [event] : settledAnswers(event)
      const vector = scored.at(-1)?.representation
      if (vector) vectors[from + index] = vector
    })
  }
  if (vectors.filter(Boolean).length < texts.length) throw new BasinError('cancelled')
  return { vectors, tokens }
}

export async function embedTexts(
  context: Pick<AppContext, 'limits' | 'requests'>,
  requester: Requester,
  body: EmbeddingRequest,
): Promise<Embeddings> {
  const { model } = requester.engine
  const representation = representationOf(model, body.representation)
  try {
    const texts = requestsOf(body, representation, model, context.limits)
    const { tokens, vectors } = await vectorsOf(texts, context, requester)
    const data = vectors.map((vector, index) => {
      const sent = body.normalize === false ? vector : normalized(vector)
      const embedding = body.encoding_format === 'base64' ? packed(sent) : Array.from(sent)
      return { object: 'embedding' as const, index, embedding }
    })
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return { object: 'list', model: model.name, representation, data, usage }
  } catch (error) {
    throw asInputError(error)
  }
}
