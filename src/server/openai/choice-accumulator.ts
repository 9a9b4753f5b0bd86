/** What has become of one choice of a completion so far: its text, log-probabilities, energy and end. */
import type { Of, TokenLogprob } from '../../generation/protocol.js'
import { isSettled, type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import type { SuccessEvent } from '../requests/submitted-request.js'
import type { Logprobs } from '../schemas/completion-schema.js'
import type { RequestedChoice } from './completion-choices.js'

/** Text that has become certain. `logprobs`: of its tokens; null if the client did not ask for them. */
export interface TextPart {
  text: string
  logprobs: Logprobs | null
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
