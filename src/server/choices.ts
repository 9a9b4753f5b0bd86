/** From a completion request to the choices that it asks for: one job each. Runs nothing. */
import { BasinError } from '../errors.js'
import type { Generation } from '../generation/client.js'
import type { Job } from '../generation/protocol.js'
import { jobOf } from './job.js'
import type { Limits } from './limits.js'
import type { CompletionRequest } from './schemas/completion.js'

type Prompt = Job['prompt']

/** One choice before it runs. */
export interface Asked {
  /** Which of the request's prompts it completes. */
  prompt: number
  /** Precedes its text. */
  echo: string
  job: Omit<Job, 'id'>
}

/** Throws `not_supported` for what the API defines and this server does not do. */
function refuseUnsupported(body: CompletionRequest): void {
  if (body.suffix) {
    const reason = 'write the known text after the blanks of a template'
    throw new BasinError('not_supported', { param: 'suffix', reason })
  }
  if ((body.best_of ?? 1) > (body.n ?? 1)) {
    const reason = 'let refinement.candidates be chosen among by energy'
    throw new BasinError('not_supported', { param: 'best_of', reason })
  }
  if (body.echo && typeof body.logprobs === 'number') {
    const reason = 'the prompt has no log-probabilities here; leave echo or logprobs out'
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

/** In the order of their indices: prompt by prompt, `n` choices each. */
export async function choicesOf(
  body: CompletionRequest,
  generation: Generation,
  limits: Limits,
  rest: Pick<Job, 'client' | 'reportSteps'>,
): Promise<Asked[]> {
  refuseUnsupported(body)
  const prompts = promptsOf(body.prompt)
  const n = body.n ?? 1
  if (prompts.length * n > limits.choices) {
    throw new BasinError('out_of_range', {
      param: body.n ? 'n' : 'prompt',
      bound: `at most ${limits.choices} choices in all (prompts times n)`,
      value: prompts.length * n,
    })
  }
  const shared = { ...jobOf(body, generation.model, limits.caps), ...rest, hold: false }
  const asked = prompts.map(async (prompt, index): Promise<Asked[]> => {
    const echo = body.echo ? await textOf(prompt, generation) : ''
    return Array.from({ length: n }, (_, copy) => {
      const sampling = { ...shared.sampling, seed: shared.sampling.seed + copy }
      return { prompt: index, echo, job: { ...shared, prompt, sampling } }
    })
  })
  return (await Promise.all(asked)).flat()
}

const textOf = (prompt: Prompt, generation: Generation): string | Promise<string> =>
  typeof prompt === 'string' ? prompt : generation.detokenize(prompt)
