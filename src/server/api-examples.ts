/**
 * Requests that the models of this server answer, one for each kind of model, as the OpenAPI document offers
 * them. Knows what models are, and nothing of documents.
 */
import type { ModelConfig } from '../model/config.js'

/** A body to send, and what it shows. */
export interface RequestExample {
  summary: string
  value: object
}

export type RequestExamples = Readonly<Record<string, RequestExample>>

type Template = NonNullable<ModelConfig['template']>

const PROMPT = 'Once upon a time'

/** A model of each kind by what it answers: text, or a kind of puzzle. */
function kindsOf(models: readonly ModelConfig[]): Map<string, ModelConfig> {
  const kinds = new Map<string, ModelConfig>()
  for (const model of models) {
    const { layout, length } = model.template ?? {}
    const kind = length === undefined ? 'text' : (layout?.kind ?? 'template')
    if (!kinds.has(kind)) kinds.set(kind, model)
  }
  return kinds
}

const templateOf = ({ blank, example, length = 1 }: Template): string =>
  example ?? blank.repeat(length)

/** A text that the model has tokens for, as long as an answer of it where that is fixed. */
function answerOf({ template }: ModelConfig): string {
  if (template?.length === undefined) return ' there was a little girl.'
  const known = template.example?.replaceAll(template.blank, '') ?? '1'
  return templateOf(template).replaceAll(template.blank, Array.from(known)[0] ?? '1')
}

/** Bodies by path; each for a model that fills templates of one length, or continues text. */
const bodies: Readonly<Record<string, (model: ModelConfig, puzzle: string | undefined) => object>> =
  {
    '/v1/completions': (_, puzzle) =>
      puzzle === undefined ? { prompt: PROMPT, max_tokens: 40 } : { template: puzzle },
    '/v1/chat/completions': (_, puzzle) => ({
      messages: [{ role: 'user', content: puzzle ?? PROMPT }],
      ...(puzzle === undefined && { max_tokens: 40 }),
    }),
    '/v1/responses': (_, puzzle) => ({
      input: puzzle ?? PROMPT,
      ...(puzzle === undefined && { max_output_tokens: 40 }),
    }),
    '/v1/embeddings': (_, puzzle) => ({ input: puzzle ?? PROMPT }),
    '/v1/landscape': (_, puzzle) => ({
      ...(puzzle === undefined ? { prompt: PROMPT } : { template: puzzle }),
      points: 9,
    }),
    '/v1/score': (model, puzzle) => ({
      ...(puzzle === undefined && { prompt: PROMPT }),
      answers: [answerOf(model)],
    }),
    '/v1/rerank': (model, puzzle) => ({
      query: puzzle === undefined ? PROMPT : '',
      documents: [answerOf(model)],
    }),
    '/v1/tokenize': (model) => ({ text: answerOf(model) }),
    '/v1/detokenize': () => ({ tokens: [0, 1, 2] }),
  }

/** Examples for a POST to this path, by the kind of their model; undefined where there are none. */
export function examplesOf(
  path: string,
  models: readonly ModelConfig[],
): RequestExamples | undefined {
  const bodyOf = bodies[path]
  if (!bodyOf) return undefined
  const kinds = [...kindsOf(models)]
  return Object.fromEntries(
    kinds.map(([kind, model]) => {
      const { template } = model
      const puzzle = template?.length === undefined ? undefined : templateOf(template)
      const value = { model: model.name, ...bodyOf(model, puzzle) }
      return [kind, { summary: `${kind}, with ${model.name}`, value }]
    }),
  )
}
