/** How well given answers fit after a prompt, by their energy: scores, and documents in their order. */
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import type { AppContext } from '../context.js'
import type { Requester } from '../requests/requester.js'
import { usageFields } from '../event-fields.js'
import { requestFrom, type Settings } from '../requests/request-settings.js'
import { followAll } from '../requests/request-service.js'
import type {
  Measure,
  Reranked,
  RerankRequest,
  Score,
  ScoreRequest,
  Scores,
} from '../schemas/score-schema.js'

type Text = EngineRequest['prompt']
type Context = Pick<AppContext, 'limits' | 'requests'>

interface Question {
  prompt: Text
  answers: readonly Text[]
  measure: Measure
  budget: Pick<Settings, 'reasoning_effort' | 'refinement'>
  /** What errors call the answers. */
  param: string
  /** What follows `/v1/` in the path. */
  route: string
}

/**
 * A residual energy is 0 where an answer agrees with itself: it rates points of the latent space. Token
 * embeddings are no such points unless the model was trained on whole answers of its own.
 */
const measureOf = ({ energy, template }: ModelConfig, asked: Measure | null | undefined): Measure =>
  asked ?? (energy.kind === 'residual' && template?.length === undefined ? 'readout' : 'energy')

/** In the order of the answers. `tokens`: all that were observed, the prompt once for each answer. */
async function scoresOf(
  { limits, requests }: Context,
  { client, disconnected: signal, engine }: Requester,
  { answers, budget, measure, param, prompt, route }: Question,
): Promise<{ scores: Score[]; tokens: number }> {
  if (answers.length > limits.choices) {
    const bound = `at most ${limits.choices}`
    throw new BasinError('out_of_range', { param, bound, value: answers.length })
  }
  const { reasoning_effort = null, refinement = null } = budget
  const settings = { reasoning_effort, refinement, temperature: 0, max_tokens: 0, seed: 0 }
  const shared = {
    ...requestFrom({ ...settings, logprobs: 0 }, engine.model, limits),
    prompt,
    buffered: true,
    reportSteps: false,
    hold: false,
  }
  const by = measure === 'energy' ? ('energy' as const) : ('logprobs' as const)
  const submitted = await requests.submit(
    engine,
    answers.map((answer) => ({ ...shared, given: { answer, by, param } })),
    { client, route, signal },
  )
  let tokens = 0
  const parts = answers.map((): Score['parts'] => [])
  await followAll(submitted, (event, index) => {
    if (event.type === 'started') tokens += event.promptTokens
    if (event.type !== 'scored') return
    const { disagreement, doubt, logprobs = [], text } = event
    const energy = event.energy ?? -logprobs.reduce((sum, each) => sum + each.logprob, 0)
    const terms = disagreement === undefined || doubt === undefined ? {} : { disagreement, doubt }
    parts[index]?.push({ text, tokens: event.tokens, energy, ...terms })
  })
  return { scores: parts.map(scoreOf), tokens }
}

function scoreOf(parts: Score['parts'], index: number): Score {
  const energy = parts.reduce((sum, part) => sum + part.energy, 0)
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0)
  return { object: 'score', index, energy, energy_per_token: energy / tokens, tokens, parts }
}

export async function scoreAnswers(
  context: Context,
  requester: Requester,
  body: ScoreRequest,
): Promise<Scores> {
  const { model } = requester.engine
  const measure = measureOf(model, body.by)
  const { scores, tokens } = await scoresOf(context, requester, {
    prompt: body.prompt ?? '',
    answers: body.answers,
    measure,
    budget: body,
    param: 'answers',
    route: 'score',
  })
  return {
    object: 'list',
    model: model.name,
    by: measure,
    data: scores,
    usage: usageFields(tokens, 0),
  }
}

/** A document is an answer after the query; its rank is its energy per token. */
export async function rankDocuments(
  context: Context,
  requester: Requester,
  body: RerankRequest,
): Promise<Reranked> {
  const { model } = requester.engine
  const measure = measureOf(model, body.by)
  const texts = body.documents.map((each) => (typeof each === 'string' ? each : each.text))
  const { scores, tokens } = await scoresOf(context, requester, {
    prompt: body.query,
    answers: texts,
    measure,
    budget: body,
    param: 'documents',
    route: 'rerank',
  })
  const ranked = scores
    .map(({ energy_per_token: energy, index }) => ({
      index,
      relevance_score: measure === 'readout' ? Math.exp(-energy) : 1 / (1 + Math.exp(energy)),
      ...(body.return_documents !== false && { document: { text: texts[index] ?? '' } }),
    }))
    .sort((a, b) => b.relevance_score - a.relevance_score)
  return {
    model: model.name,
    by: measure,
    results: ranked.slice(0, body.top_n ?? ranked.length),
    usage: usageFields(tokens, 0),
  }
}
