/** From a completion request to the choices that it asks for: one job each. Runs nothing. */
import { BasinError } from '../errors.js'
import type { EngineClient } from '../generation/client/engine-client.js'
import type { EngineRequest } from '../generation/protocol.js'
import { jobOf } from './job.js'
import type { ModelConfig } from '../model/config.js'
import type { Limits } from './limits.js'
import type { CompletionRequest } from './schemas/completion.js'

type Prompt = EngineRequest['prompt']

/** One choice before it runs. */
export interface Asked {
  /** Which of the request's prompts it completes. */
  prompt: number
  /** The client wants log-probabilities; they may be needed without that. */
  logprobs: boolean
  job: Omit<EngineRequest, 'id'>
}

/** All that one request asks for. */
export interface Request {
  choices: readonly Asked[]
  /** How many choices of each prompt the client gets: those of the lowest energy. */
  kept: number
}

/** Throws `not_supported` for what the API defines and this server does not do. */
function refuseUnsupported(body: CompletionRequest): void {
  if (body.suffix) {
    const reason = 'write the known text after the blanks of a template'
    throw new BasinError('not_supported', { param: 'suffix', reason })
  }
  if (body.echo && typeof body.logprobs === 'number' && typeof body.template === 'string') {
    const reason = 'with a template, leave echo or logprobs out'
    throw new BasinError('not_supported', { param: 'echo', reason })
  }
  if (body.stream_options && !body.stream) {
    const reason = 'is for streams only'
    throw new BasinError('invalid_request', { param: 'stream_options', reason })
  }
}

/** The schema has proved the four forms; an empty list is an empty list of tokens. */
function promptsOf(prompt: CompletionRequest['prompt']): Prompt[] {
  if (prompt === undefined || prompt === null) return ['']
  if (typeof prompt === 'string') return [prompt]
  const tokens = prompt.filter((part) => typeof part === 'number')
  return tokens.length === prompt.length ? [tokens] : (prompt as Prompt[])
}

/** How many choices of each prompt run, and how many of them the client gets. */
function counts({ best_of: asked, n, stream }: CompletionRequest): { kept: number; run: number } {
  const kept = n ?? 1
  const run = asked ?? kept
  if (run < kept) {
    throw new BasinError('out_of_range', {
      param: 'best_of',
      bound: `at least n, ${kept}`,
      value: run,
    })
  }
  if (run > kept && stream) {
    const reason = 'the best is known only at the end; leave stream or best_of out'
    throw new BasinError('not_supported', { param: 'best_of', reason })
  }
  return { kept, run }
}

/** By what `best_of` goes: the measure of score.ts, of tokens that were chosen. */
const judging = (model: ModelConfig, { logprobs }: Pick<EngineRequest, 'logprobs'>) =>
  model.energy.kind === 'residual' ? { logprobs: logprobs ?? 0 } : { tokenEnergy: true }

/**
 * The prompt is read with log-probabilities if both it and they are asked for: then it is given, after
 * an empty context. `max_tokens: 0` reads it and completes nothing.
 */
function promptPart({ echo, logprobs, max_tokens: most }: CompletionRequest, prompt: Prompt) {
  const read = echo && typeof logprobs === 'number'
  if (most === 0 && !read) {
    const bound = 'at least 1; 0 is for echo with logprobs'
    throw new BasinError('out_of_range', { param: 'max_tokens', bound, value: most })
  }
  if (!read) return { prompt, echo: echo ?? false }
  return {
    prompt: '',
    echo: true,
    given: { answer: prompt, by: 'logprobs' as const, param: 'prompt' },
  }
}

/** In the order of their indices: prompt by prompt. Throws what is wrong with the request. */
export function choicesOf(
  body: CompletionRequest,
  { model }: EngineClient,
  limits: Limits,
  rest: Pick<EngineRequest, 'client' | 'buffered' | 'reportSteps'>,
): Request {
  refuseUnsupported(body)
  const prompts = promptsOf(body.prompt)
  const { kept, run } = counts(body)
  if (prompts.length * run > limits.choices) {
    throw new BasinError('out_of_range', {
      param: body.best_of ? 'best_of' : body.n ? 'n' : 'prompt',
      bound: `at most ${limits.choices} choices in all (prompts times n or best_of)`,
      value: prompts.length * run,
    })
  }
  const job = { ...jobOf(body, model, limits.caps), ...rest, hold: false }
  const shared = run > kept ? { ...job, ...judging(model, job) } : job
  const logprobs = typeof body.logprobs === 'number'
  const choices = prompts.flatMap((prompt, index) =>
    Array.from({ length: run }, (_, copy): Asked => {
      const sampling = { ...shared.sampling, seed: shared.sampling.seed + copy }
      return { prompt: index, logprobs, job: { ...shared, ...promptPart(body, prompt), sampling } }
    }),
  )
  return { choices, kept }
}
