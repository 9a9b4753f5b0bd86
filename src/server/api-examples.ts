/**
 * Requests that the models of this server answer, as the OpenAPI document and the start of the server offer
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
  return templateOf(template).replaceAll(template.blank, knownOf(template))
}

/** What may stand in place of a blank: a word of the example where blanks are words, else a character. */
function knownOf({ blank, example = '' }: Template): string {
  const known = blank.startsWith(' ')
    ? / \p{L}+/u.exec(example)?.[0]
    : Array.from(example.replaceAll(blank, ''))[0]
  return known ?? '1'
}

type BodyOf = (model: ModelConfig, puzzle: string | undefined) => object

/** Bodies by path; each for a model that fills templates of one length, or continues text. */
const bodies = {
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
} satisfies Readonly<Record<string, BodyOf>>

type ExamplePath = keyof typeof bodies

const hasExamples = (path: string): path is ExamplePath => Object.hasOwn(bodies, path)

/** A body for a POST to this path that this model answers. */
export function exampleOf(path: ExamplePath, model: ModelConfig): object {
  const { template } = model
  const puzzle = template?.length === undefined ? undefined : templateOf(template)
  return { model: model.name, ...bodies[path](model, puzzle) }
}

/** Examples for a POST to this path, by the kind of their model; undefined where there are none. */
export function examplesOf(
  path: string,
  models: readonly ModelConfig[],
): RequestExamples | undefined {
  if (!hasExamples(path)) return undefined
  return Object.fromEntries(
    Array.from(kindsOf(models), ([kind, model]) => [
      kind,
      { summary: `${kind}, with ${model.name}`, value: exampleOf(path, model) },
    ]),
  )
}
