/** A completion that runs: its choices, and the reply that they make together. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../../errors.js'
import type { Of, Refinement, TokenLogprob } from '../../generation/protocol.js'
import { isSettled, type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import type { AppContext } from '../context.js'
import type { Requester } from '../requests/requester.js'
import { usageFields } from '../event-fields.js'
import {
  type EventConsumer,
  followAll,
  type SubmittedRequest,
  type SuccessEvent,
} from '../requests/request-service.js'
import type { Completion, Logprobs } from '../schemas/completion-schema.js'
import type { Usage } from '../schemas/reply-schema.js'
import type { RequestedChoice, RequestedChoices } from './completion-choices.js'

/** Text that has become certain. `logprobs`: of its tokens; null if the client did not ask for them. */
export interface TextPart {
  text: string
  logprobs: Logprobs | null
}

/** What the whole reply and every chunk of a streamed one have in common. */
export interface CompletionHead {
  id: string
  object: 'text_completion' | 'chat.completion.chunk'
  /** Unix time, seconds. */
  created: number
  model: string
}

/** The part of one choice in one chunk. */
export interface ChunkChoice extends TextPart {
  index: number
  /** No chunk before it was of this choice. */
  first: boolean
  finish_reason: string | null
}

/** The differences between the two APIs for completions. */
export interface CompletionApi {
  idPrefix: string
  chunkObject: CompletionHead['object']
  /** What follows `/v1/` in the path. */
  route: string
  /** A choice in the form that its chunks have in this API. */
  chunkChoice: (choice: ChunkChoice) => object
}

export const textCompletions: CompletionApi = {
  idPrefix: 'cmpl',
  chunkObject: 'text_completion',
  route: 'completions',
  chunkChoice: ({ finish_reason, index, logprobs, text }) => ({
    index,
    text,
    logprobs,
    finish_reason,
  }),
}

/** The first token of an echoed text follows nothing, and so has no probability. */
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

const energyOf = (entries: readonly TokenLogprob[] = []): number =>
  -entries.reduce((sum, { logprob }) => sum + logprob, 0)

/** What has become of one choice so far: its text, log-probabilities, energy and end. */
export class ChoiceAccumulator {
  /** The prompt, if it is echoed. */
  echo = ''
  finished: Of<'finished'> | undefined
  private readonly entries: Entry[] = []
  /** Length of the text that `entries` describe. */
  private offset = 0
  private energy = 0
  private tokens = 0

  constructor(readonly choice: RequestedChoice) {}

  /** Of the whole text; null if the client did not ask for them. */
  get logprobs(): Logprobs | null {
    return this.choice.logprobs ? logprobsOf(this.entries, 0) : null
  }

  /** Of the chosen tokens, as basin/scoring.ts measures given ones; `best_of` compares it. */
  get energyPerToken(): number {
    return this.energy / Math.max(1, this.tokens)
  }

  /** For a consumer that wants only what all events add up to. */
  take(event: SuccessEvent): void {
    if (isSettled(event)) for (const answer of settledAnswers(event)) this.settle(answer)
    else if (event.type === 'started') this.start(event)
    else if (event.type === 'scored') this.score(event)
    else if (event.type === 'finished') this.finished = event
  }

  start({ promptText = '' }: Of<'started'>): TextPart {
    this.echo = promptText
    // Given tokens are echoed as they are scored.
    return { text: this.choice.request.given ? '' : promptText, logprobs: null }
  }

  score({ logprobs, text }: Of<'scored'>): TextPart {
    return { text, logprobs: this.add(logprobs) }
  }

  settle({ logprobs, text, tokenEnergy, tokens }: SettledAnswer): TextPart {
    this.energy += tokenEnergy ?? energyOf(logprobs)
    this.tokens += tokens
    return { text, logprobs: this.add(logprobs) }
  }

  private add(logprobs: readonly TokenLogprob[] | undefined): Logprobs | null {
    if (!logprobs) return null
    const first = this.choice.request.given && this.entries.length === 0
    const added = logprobs.map((entry, i): Entry =>
      first && i === 0 ? { token: entry.token, logprob: null, top: null } : entry,
    )
    this.entries.push(...added)
    const described = logprobsOf(added, this.offset)
    this.offset += added.reduce((length, { token }) => length + token.length, 0)
    return described
  }
}

export interface ChoiceRun {
  request: SubmittedRequest
  accumulator: ChoiceAccumulator
}

/** Choices whose required terms are satisfied come first, then those of the lowest energy. */
function bySatisfaction(a: ChoiceAccumulator, b: ChoiceAccumulator): number {
  const unsatisfied = ({ finished }: ChoiceAccumulator) =>
    Number(finished?.finishReason === 'unsatisfied')
  return unsatisfied(a) - unsatisfied(b) || a.energyPerToken - b.energyPerToken
}

/** Of the choice whose latest answer has the lowest energy. */
const lowest = (refinements: readonly Refinement[]): Refinement =>
  refinements.reduce((low, other) => (other.energy.best < low.energy.best ? other : low))

export class CompletionRun {
  private constructor(
    readonly api: CompletionApi,
    readonly head: CompletionHead,
    readonly choices: readonly ChoiceRun[],
    /** How many choices of each prompt the client gets. */
    private readonly kept: number,
    /** Ends the time in which the client may steer it. */
    private readonly leave: () => void,
  ) {}

  /** Submits all choices, or none. They are cancelled when the client leaves. */
  static async start(
    { requests, running }: Pick<AppContext, 'requests' | 'running'>,
    { client, disconnected: signal, engine, owner }: Requester,
    { choices: requested, kept }: RequestedChoices,
    api: CompletionApi,
  ): Promise<CompletionRun> {
    const submitted = await requests.submit(
      engine,
      requested.map(({ request }) => request),
      { client, route: api.route, signal },
    )
    const id = `${api.idPrefix}-${randomUUID()}`
    const leave = running.enter(id, owner, submitted)
    signal.addEventListener('abort', leave, { once: true })
    const created = Math.floor(Date.now() / 1000)
    const head = { id, object: api.chunkObject, created, model: engine.model.name }
    const choices = requested.flatMap((choice, index) => {
      const request = submitted[index]
      return request ? [{ request, accumulator: new ChoiceAccumulator(choice) }] : []
    })
    return new CompletionRun(api, head, choices, kept, leave)
  }

  /** Follows every choice to its end. The first failure ends them all, and is thrown. */
  async follow(take: EventConsumer): Promise<void> {
    await followAll(
      this.choices.map(({ request }) => request),
      take,
    ).finally(this.leave)
  }

  /** The reply of a request without `stream`. */
  async complete(): Promise<Completion> {
    await this.follow((event, index) => this.choices[index]?.accumulator.take(event))
    const choices = this.selected().map(({ echo, finished, logprobs }, index) => {
      if (!finished) throw new BasinError('internal')
      const { finishReason, refinement, text } = finished
      return { index, text: echo + text, logprobs, finish_reason: finishReason, refinement }
    })
    return {
      ...this.head,
      object: 'text_completion',
      choices,
      usage: this.usage,
      refinement: lowest(choices.map(({ refinement }) => refinement)),
    }
  }

  /** The tokens of a prompt count once, however many choices complete it. */
  get usage(): Usage {
    const prompts = new Map<number, number>()
    let completion = 0
    for (const { accumulator } of this.choices) {
      const { choice, finished } = accumulator
      prompts.set(choice.prompt, finished?.usage.promptTokens ?? prompts.get(choice.prompt) ?? 0)
      completion += finished?.usage.completionTokens ?? 0
    }
    const prompt = [...prompts.values()].reduce((sum, count) => sum + count, 0)
    return usageFields(prompt, completion)
  }

  /** Of each prompt the choices of the lowest energy, lowest first; in their order where all are kept. */
  private selected(): ChoiceAccumulator[] {
    const byPrompt = new Map<number, ChoiceAccumulator[]>()
    for (const { accumulator } of this.choices) {
      const { prompt } = accumulator.choice
      byPrompt.set(prompt, [...(byPrompt.get(prompt) ?? []), accumulator])
    }
    return [...byPrompt.values()].flatMap((all) =>
      all.length === this.kept ? all : all.sort(bySatisfaction).slice(0, this.kept),
    )
  }
}
