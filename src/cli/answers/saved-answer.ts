/** An answer in a file, to go on with later: what `generate --save` writes, or a state that a server gave. */
import { readFileSync, writeFileSync } from 'node:fs'
import { BasinError } from '../../errors.js'
import type { Of } from '../../generation/protocol.js'
import type { NewRequest } from '../../server/requests/request-service.js'
import {
  contentOf,
  type SavedAnswer,
  textOfState,
} from '../../server/openai/responses/response-state.js'

/** `given`: the text that had settled. Throws `not_written`. */
export function writeAnswer(
  path: string,
  saved: Of<'saved'>,
  answer: { model: string; request: NewRequest; given: string },
): void {
  const { limits, steered, steps, thought } = saved
  const given = { text: answer.given, logprobs: [], steps }
  const content: SavedAnswer = { ...answer, given, limits, steered, steers: [], steps, thought }
  try {
    // It holds a prompt and an answer: other users of the machine must not read them.
    writeFileSync(path, textOfState(content), { mode: 0o600 })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BasinError('not_written', { path, reason }, { cause })
  }
}

/** Throws `invalid_data` where it cannot be read, `invalid_state` where it is no answer. */
export function readAnswer(path: string): SavedAnswer {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new BasinError('invalid_data', { path, reason }, { cause })
  }
  return contentOf(stateIn(text))
}

/** A server's reply to GET /v1/responses/{id}/state may have been kept whole. */
function stateIn(text: string): string {
  if (!text.startsWith('{')) return text
  const { state } = JSON.parse(text) as { state?: unknown }
  if (typeof state === 'string') return state
  throw new BasinError('invalid_state', { reason: 'the file has no field state' })
}
