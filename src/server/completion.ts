/** A completion under way: its choices, what becomes of them, and the reply that they make together. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../errors.js'
import type { Generation, Run } from '../generation/client.js'
import type { Refinement, TokenLogprob } from '../generation/protocol.js'
import type { Asked } from './choices.js'
import type { Metrics } from './metrics/metrics.js'
import { cancelAll, follow, submitAll } from './runs.js'
import type { Completion, Logprobs } from './schemas/completion.js'
import { type Of, usageOf } from './wire.js'

/** Log-probabilities in the layout of the completions API. `offset`: where their text begins. */
export function logprobsOf(entries: readonly TokenLogprob[], offset: number): Logprobs {
  let at = offset
  return {
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }) => logprob),
    top_logprobs: entries.map(({ top }) =>
      Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: entries.map(({ token }) => {
      const here = at
      at += token.length
      return here
    }),
  }
}

/** What has become of a choice so far. */
export class Progress {
  readonly logprobs: TokenLogprob[] = []
  finished: Of<'finished'> | undefined

  constructor(readonly asked: Asked) {}

  /** Returns the log-probabilities that this answer adds, null if none were asked for. */
  commit(event: Of<'committed'>): Logprobs | null {
    if (!event.logprobs) return null
    const offset = this.logprobs.reduce((length, { token }) => length + token.length, 0)
    this.logprobs.push(...event.logprobs)
    return logprobsOf(event.logprobs, offset)
  }
}

/** Tokens of each prompt count once, however many choices complete it. */
export function tokensOf(choices: readonly Progress[]): { prompt: number; completion: number } {
  const prompts = new Map<number, number>()
  let completion = 0
  for (const { asked, finished } of choices) {
    prompts.set(asked.prompt, finished?.usage.promptTokens ?? prompts.get(asked.prompt) ?? 0)
    completion += finished?.usage.completionTokens ?? 0
  }
  return { prompt: [...prompts.values()].reduce((sum, count) => sum + count, 0), completion }
}

/** Of the choice whose latest answer has the lowest energy. */
const lowest = (refinements: readonly Refinement[]): Refinement =>
  refinements.reduce((low, other) => (other.energy.best < low.energy.best ? other : low))

/** What the whole reply, and every chunk of a streamed one, says of itself. */
export interface Head {
  id: string
  object: 'text_completion'
  /** Unix time, seconds. */
  created: number
  model: string
}

export interface Following {
  progress: Progress
  events: ReturnType<typeof follow>
}

export interface Underway {
  head: Head
  choices: readonly Following[]
  runs: readonly Run[]
}

/** Submits all choices, or none. They are cancelled when the client leaves. */
export function start(
  generation: Generation,
  asked: readonly Asked[],
  metrics: Metrics,
  abandoned: AbortSignal,
): Underway {
  const model = generation.model.name
  const jobs = asked.map(({ job }) => job)
  const runs = submitAll(generation, jobs, abandoned)
  return {
    head: {
      id: `cmpl-${randomUUID()}`,
      object: 'text_completion',
      created: Math.floor(Date.now() / 1000),
      model,
    },
    runs,
    choices: asked.flatMap((choice, index) => {
      const run = runs[index]
      const account = metrics.account(model, 'completions')
      return run ? [{ progress: new Progress(choice), events: follow(run, account) }] : []
    }),
  }
}

/** Runs every choice to its end. The first failure ends them all. */
export async function complete({ head, choices, runs }: Underway): Promise<Completion> {
  const all = choices.map(async ({ progress, events }) => {
    for await (const event of events) {
      if (event.type === 'committed') progress.commit(event)
      if (event.type === 'finished') progress.finished = event
    }
  })
  try {
    await Promise.all(all)
  } finally {
    cancelAll(runs)
  }
  return completionOf(
    head,
    choices.map(({ progress }) => progress),
  )
}

function completionOf(head: Head, choices: readonly Progress[]): Completion {
  const finished = choices.map(({ asked, logprobs, finished }, index) => {
    if (!finished) throw new BasinError('internal')
    const { finishReason, refinement, text } = finished
    return {
      index,
      text: asked.echo + text,
      logprobs: asked.job.logprobs === undefined ? null : logprobsOf(logprobs, 0),
      finish_reason: finishReason,
      refinement,
    }
  })
  const tokens = tokensOf(choices)
  return {
    ...head,
    choices: finished,
    usage: usageOf(tokens.prompt, tokens.completion),
    refinement: lowest(finished.map(({ refinement }) => refinement)),
  }
}
