/**
 * The messages that a client of the socket gets: from an engine's event to frames. Imports nothing that a
 * browser lacks, because the page makes the same frames of the events of an engine in its tab.
 */
import { fromErrorMessage } from '../../errors.js'
import { isSettled, settledAnswers } from '../../generation/settled-answers.js'
import { settledFields, stepFields, usageFields } from '../event-fields.js'
import type { SuccessEvent } from '../requests/request-service.js'

export interface ServerFrame {
  type: 'started' | 'step' | 'committed' | 'finished' | 'error'
  [field: string]: unknown
}

/** Without the sequence number, which belongs to the connection. None for events that the socket has not. */
export function framesOf(
  event: SuccessEvent,
  request: { id: string; model: string },
): readonly ServerFrame[] {
  if (isSettled(event)) {
    return settledAnswers(event).map((answer) => {
      const { logprobs, text } = answer
      return {
        type: 'committed',
        text,
        ...settledFields(answer),
        ...(logprobs && { logprobs }),
      }
    })
  }
  switch (event.type) {
    case 'started':
      return [
        {
          type: 'started',
          ...request,
          prompt_tokens: event.promptTokens,
          queue_seconds: event.queueSeconds,
        },
      ]
    case 'step':
      return [{ type: 'step', ...stepFields(event) }]
    case 'declined':
      return [{ type: 'error', ...fromErrorMessage(event.error).toJSON() }]
    case 'saved':
    case 'scored':
    case 'probed':
      return []
    case 'finished': {
      const { finishReason, refinement, text, usage } = event
      return [
        {
          type: 'finished',
          finish_reason: finishReason,
          text,
          usage: usageFields(usage.promptTokens, usage.completionTokens),
          refinement,
        },
      ]
    }
  }
}
