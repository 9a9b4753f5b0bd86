/** An answer of a model in this process. */
import { fromErrorMessage } from '../../errors.js'
import type { EngineClient, RequestStream } from '../../generation/client/engine-client.js'
import type { Of, RequestEvent } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import type { AnswerEvent, WatchedAnswer } from './answer-events.js'

type Request = Omit<Parameters<EngineClient['submit']>[0], 'client' | 'hold' | 'reportSteps'>

/** Takes an answer to be gone on with, and the text that has settled since the last one. */
export type Keep = (saved: Of<'saved'>, text: string) => void

/** `keep`: in place of the end with the best so far, the answer is saved and left. */
export function localAnswer(engine: EngineClient, request: Request, keep?: Keep): WatchedAnswer {
  const stream = engine.submit({ ...request, client: 'terminal', reportSteps: true, hold: false })
  return {
    events: eventsOf(stream, keep),
    finish: () => {
      stream.control({ type: keep ? 'save' : 'finish' })
    },
  }
}

async function* eventsOf(
  stream: RequestStream,
  keep: Keep | undefined,
): AsyncGenerator<AnswerEvent, void> {
  let settled = ''
  for await (const event of everyEvent(stream.events)) {
    if (event.type === 'failed') throw fromErrorMessage(event.error)
    if (event.type === 'step') yield event
    if (event.type === 'saved') {
      keep?.(event, settled)
      stream.control({ type: 'cancel' })
    }
    for (const { energy, seconds, text } of settledAnswers(event)) {
      settled += text
      yield { type: 'settled', text, energy, seconds }
    }
    if (event.type === 'finished') {
      const { refinement, text, usage } = event
      const { restarts = 0, steps, stop_reason: stopReason, terms = [] } = refinement
      const tokens = usage.completionTokens
      yield { type: 'finished', text, tokens, steps, restarts, stopReason, terms }
    }
  }
}

/** However slowly they are taken: a reader that falls behind would miss steps. */
async function* everyEvent(events: AsyncIterable<RequestEvent>): AsyncGenerator<RequestEvent> {
  const nobody: () => void = () => undefined
  const state = { waiting: [] as RequestEvent[], ended: false, wake: nobody }
  const read = async (): Promise<void> => {
    for await (const event of events) {
      state.waiting.push(event)
      state.wake()
    }
  }
  const reading = read().finally(() => {
    state.ended = true
    state.wake()
  })
  for (;;) {
    const event = state.waiting.shift()
    if (event) yield event
    else if (state.ended) break
    else
      await new Promise<void>((resolve) => {
        state.wake = resolve
      })
  }
  await reading
}
