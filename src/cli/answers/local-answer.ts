/** An answer of a model in this process. */
import { fromErrorMessage } from '../../errors.js'
import type { EngineClient, RequestStream } from '../../generation/client/engine-client.js'
import type { RequestEvent } from '../../generation/protocol.js'
import { settledAnswers } from '../../generation/settled-answers.js'
import type { AnswerEvent, WatchedAnswer } from './answer-events.js'

type Request = Omit<Parameters<EngineClient['submit']>[0], 'client' | 'hold' | 'reportSteps'>

export function localAnswer(engine: EngineClient, request: Request): WatchedAnswer {
  const stream = engine.submit({ ...request, client: 'terminal', reportSteps: true, hold: false })
  return {
    events: eventsOf(stream),
    finish: () => {
      stream.control({ type: 'finish' })
    },
  }
}

async function* eventsOf(stream: RequestStream): AsyncGenerator<AnswerEvent, void> {
  for await (const event of everyEvent(stream.events)) {
    if (event.type === 'failed') throw fromErrorMessage(event.error)
    if (event.type === 'step') yield event
    for (const { energy, seconds, text } of settledAnswers(event))
      yield { type: 'settled', text, energy, seconds }
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
