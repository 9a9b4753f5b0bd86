/** From a completion request to the choices that it asks for, one engine request each. Submits nothing. */
import { BasinError } from '../../errors.js'
import type { EngineRequest } from '../../generation/protocol.js'
import type { ModelConfig } from '../../model/config.js'
import type { Limits } from '../limits.js'
import type { NewRequest } from '../requests/request-service.js'
import { requestFrom, type Settings } from '../requests/request-settings.js'
import type { CompletionRequest } from '../schemas/completion-schema.js'

type Prompt = EngineRequest['prompt']

/** A choice before it runs. */
export interface RequestedChoice {
  /** Which of the prompts it completes. */
  prompt: number
  /** The client wants log-probabilities; `best_of` may need them without that. */
  logprobs: boolean
  request: NewRequest
}

export interface RequestedChoices {
  /** In the order of their indices: prompt by prompt. */
  choices: readonly RequestedChoice[]
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
  if (body.echo && typeof body.logprobs === 'number' && body.energy_terms?.length) {
    const reason = 'given text has no terms; leave echo or logprobs out'
    throw new BasinError('not_supported', { param: 'energy_terms', reason })
  }
  if (body.stream_options && !body.stream) {
    const reason = 'is for streams only'
    throw new BasinError('invalid_request', { param: 'stream_options', reason })
  }
}

/** The schema admits four forms only; an empty list counts as an empty list of tokens. */
function promptsOf(prompt: CompletionRequest['prompt']): Prompt[] {
  if (prompt === undefined || prompt === null) return ['']
  if (typeof prompt === 'string') return [prompt]
  const tokens = prompt.filter((part) => typeof part === 'number')
  return tokens.length === prompt.length ? [tokens] : (prompt as Prompt[])
}

/** How many choices of each prompt run, and how many of them the client gets. */
function counts({ best_of: bestOf, n, stream }: CompletionRequest): { kept: number; run: number } {
  const kept = n ?? 1
  const run = bestOf ?? kept
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

/**
 * What `best_of` compares choices by: the measure of basin/scoring.ts, taken of the tokens that were chosen.
 * Residual energies do not rate tokens, so with them log-probabilities are compared.
 */
const measured = (model: ModelConfig, { logprobs }: Pick<EngineRequest, 'logprobs'>) =>
  model.energy.kind === 'residual' ? { logprobs: logprobs ?? 0 } : { judge: true }

/**
 * An echoed prompt whose log-probabilities are asked for becomes given tokens after an empty context.
 * `max_tokens: 0` then scores it and completes nothing.
 */
function promptFields({ echo, logprobs, max_tokens: most }: CompletionRequest, prompt: Prompt) {
  const scored = echo && typeof logprobs === 'number'
  if (most === 0 && !scored) {
    const bound = 'at least 1; 0 is for echo with logprobs'
    throw new BasinError('out_of_range', { param: 'max_tokens', bound, value: most })
  }
  if (!scored) return { prompt, echo: echo ?? false }
  return {
    prompt: '',
    echo: true,
    given: { answer: prompt, by: 'logprobs' as const, param: 'prompt' },
  }
}

/** `more`: what every choice has besides what the body says. Throws what is wrong with the request. */
export function requestedChoices(
  body: CompletionRequest & Pick<Settings, 'implied'>,
  model: ModelConfig,
  limits: Limits,
  more: Pick<NewRequest, 'templateParam'> = {},
): RequestedChoices {
  refuseUnsupported(body)
  const prompts = promptsOf(body.prompt)
  const { kept, run } = counts(body)
  const { choices: mostChoices } = limits
  if (prompts.length * run > mostChoices) {
    throw new BasinError('out_of_range', {
      param: body.best_of ? 'best_of' : body.n ? 'n' : 'prompt',
      bound: `at most ${mostChoices} choices in all (prompts times n or best_of)`,
      value: prompts.length * run,
    })
  }
  const settings = requestFrom(body, model, limits)
  const shared = {
    ...settings,
    ...more,
    ...(run > kept && measured(model, settings)),
    buffered: !body.stream,
    reportSteps: body.stream_options?.include_refinement ?? false,
    hold: false,
  }
  const choices = prompts.flatMap((prompt, index) =>
    Array.from({ length: run }, (_, copy): RequestedChoice => {
      const sampling = { ...shared.sampling, seed: shared.sampling.seed + copy }
      return {
        prompt: index,
        logprobs: typeof body.logprobs === 'number',
        request: { ...shared, ...promptFields(body, prompt), sampling },
      }
    }),
  )
  return { choices, kept }
}
