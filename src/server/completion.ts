/** A completion under way: its choices, what becomes of them, and the reply that they make together. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../errors.js'
import type { Generation, Run } from '../generation/client.js'
import type { JobEvent, Of, Refinement, TokenLogprob } from '../generation/protocol.js'
import type { Asked, Request } from './choices.js'
import type { Parts } from './parts.js'
import { cancelAll, endWith, follow } from './runs.js'
import type { Completion, Logprobs } from './schemas/completion.js'
import { both, Steered } from './steering.js'
import { usageOf } from './wire.js'

/** The first token of a text that is echoed has nothing before it, and so no probability. */
type Entry = TokenLogprob | { token: string; logprob: null; top: null }

/** Log-probabilities in the layout of the completions API. `offset`: where their text begins. */
function logprobsOf(entries: readonly Entry[], offset: number): Logprobs {
  let at = offset
  return {
    tokens: entries.map(({ token }) => token),
    token_logprobs: entries.map(({ logprob }) => logprob),
    top_logprobs: entries.map(
      ({ top }) => top && Object.fromEntries(top.map(({ token, logprob }) => [token, logprob])),
    ),
    text_offset: entries.map(({ token }) => {
      const here = at
      at += token.length
      return here
    }),
  }
}

const costOf = (entries: readonly TokenLogprob[] = []): number =>
  -entries.reduce((sum, { logprob }) => sum + logprob, 0)

/** What has become of a choice so far. */
export class Progress {
  /** The prompt, if it is echoed. */
  echo = ''
  finished: Of<'finished'> | undefined
  private readonly entries: Entry[] = []
  private offset = 0
  private energy = 0
  private judgedTokens = 0

  constructor(readonly asked: Asked) {}

  /** Null if none were asked for. */
  get logprobs(): Logprobs | null {
    return this.asked.logprobs ? logprobsOf(this.entries, 0) : null
  }

  /** Of the tokens chosen, as score.ts measures given ones; what `best_of` goes by. */
  get energyPerToken(): number {
    return this.energy / Math.max(1, this.judgedTokens)
  }

  /** Text and log-probabilities that this event makes certain. */
  take(event: Exclude<JobEvent, { type: 'failed' }>): { text: string; logprobs: Logprobs | null } {
    switch (event.type) {
      case 'started':
        this.echo = event.promptText ?? ''
        return { text: this.asked.job.given ? '' : this.echo, logprobs: null }
      case 'judged':
        return { text: event.text, logprobs: this.add(event.logprobs) }
      case 'committed':
        this.energy += event.tokenEnergy ?? costOf(event.logprobs)
        this.judgedTokens += event.tokens
        return { text: event.text, logprobs: this.add(event.logprobs) }
      case 'stride':
        return { text: event.text, logprobs: null }
      case 'finished':
        this.finished = event
        return { text: '', logprobs: null }
      case 'step':
      case 'surveyed':
      case 'declined':
        return { text: '', logprobs: null }
    }
  }

  private add(entries: readonly TokenLogprob[] | undefined): Logprobs | null {
    if (!entries) return null
    const first = this.asked.job.given && this.entries.length === 0
    const added = entries.map((entry, i): Entry =>
      first && i === 0 ? { token: entry.token, logprob: null, top: null } : entry,
    )
    this.entries.push(...added)
    const logprobs = logprobsOf(added, this.offset)
    this.offset += added.reduce((length, { token }) => length + token.length, 0)
    return logprobs
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
  object: 'text_completion' | 'chat.completion.chunk'
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
  /** How many choices of each prompt the client gets. */
  kept: number
  choices: readonly Following[]
  runs: readonly Run[]
  /** To be called when all is said: nobody steers it from then on. */
  leave: () => void
}

/** What tells one of OpenAI's ways to ask from the other. */
interface Api {
  prefix: string
  object: Head['object']
  /** After `/v1/`. */
  route: string
}

const completions: Api = { prefix: 'cmpl', object: 'text_completion', route: 'completions' }
export const chatCompletions: Api = {
  prefix: 'chatcmpl',
  object: 'chat.completion.chunk',
  route: 'chat/completions',
}

export type Starting = Pick<Parts, 'admission' | 'limits' | 'owner' | 'steering'>

/** Submits all choices, or none. They are cancelled when the client leaves. */
export async function start(
  { admission, limits, owner, steering }: Starting,
  generation: Generation,
  { choices: asked, kept }: Request,
  abandoned: AbortSignal,
  api: Api = completions,
): Promise<Underway> {
  const jobs = asked.map(({ job }) => job)
  const runs = await endWith(abandoned, () => admission.submit(generation, jobs))
  const choices = asked.flatMap((choice, index) => {
    const run = runs[index]
    if (!run) return []
    const { budget, client } = choice.job
    const steered = new Steered(run, budget, limits.caps)
    const ledger = both(admission.ledger(generation, client, api.route), steered)
    return [{ client, steered, progress: new Progress(choice), events: follow(run, ledger) }]
  })
  const id = `${api.prefix}-${randomUUID()}`
  const leave = steering.enter(
    id,
    owner(choices[0]?.client ?? ''),
    choices.map(({ steered }) => steered),
  )
  abandoned.addEventListener('abort', leave, { once: true })
  const created = Math.floor(Date.now() / 1000)
  const head = { id, object: api.object, created, model: generation.model.name }
  return { head, kept, runs, choices, leave }
}

/** Runs every choice to its end. The first failure ends them all. */
export async function complete(underway: Underway): Promise<Completion> {
  const { choices, leave, runs } = underway
  const all = choices.map(async ({ progress, events }) => {
    for await (const event of events) progress.take(event)
  })
  try {
    await Promise.all(all)
  } finally {
    cancelAll(runs)
    leave()
  }
  return completionOf(underway)
}

/** Of each prompt the choices of the lowest energy, in that order; all of them as they are. */
function selected({ choices, kept }: Underway): Progress[] {
  const byPrompt = new Map<number, Progress[]>()
  for (const { progress } of choices) {
    const { prompt } = progress.asked
    byPrompt.set(prompt, [...(byPrompt.get(prompt) ?? []), progress])
  }
  return [...byPrompt.values()].flatMap((all) =>
    all.length === kept
      ? all
      : all.sort((a, b) => a.energyPerToken - b.energyPerToken).slice(0, kept),
  )
}

function completionOf(underway: Underway): Completion {
  const finished = selected(underway).map(({ echo, finished, logprobs }, index) => {
    if (!finished) throw new BasinError('internal')
    const { finishReason, refinement, text } = finished
    return { index, text: echo + text, logprobs, finish_reason: finishReason, refinement }
  })
  const tokens = tokensOf(underway.choices.map(({ progress }) => progress))
  return {
    ...underway.head,
    object: 'text_completion',
    choices: finished,
    usage: usageOf(tokens.prompt, tokens.completion),
    refinement: lowest(finished.map(({ refinement }) => refinement)),
  }
}
