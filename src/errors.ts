/**
 * The table of all errors: code, HTTP status, OpenAI error type, message template. An error is thrown
 * where it is discovered, with its facts; each transport turns it into a reply in one place. This file
 * imports nothing.
 */
const table = {
  invalid_request: [400, 'invalid_request_error', '{param}: {reason}'],
  out_of_range: [400, 'invalid_request_error', '{param} must be {bound}, got {value}'],
  empty_prompt: [400, 'invalid_request_error', '{param} must not be empty'],
  context_length_exceeded: [
    400,
    'invalid_request_error',
    'The context of {model} holds {limit} tokens; the prompt has {prompt} and the answer may take {answer} more',
  ],
  template_mismatch: [400, 'invalid_request_error', '{param}: {reason}'],
  not_supported: [400, 'invalid_request_error', '{param} is not supported: {reason}'],
  idempotency_mismatch: [
    400,
    'invalid_request_error',
    '{param} was used before, for another request',
  ],
  invalid_frame: [400, 'invalid_request_error', 'frame: {reason}'],
  unauthorized: [401, 'authentication_error', 'Missing or invalid API key'],
  forbidden: [403, 'permission_error', '{reason}'],
  not_found: [404, 'invalid_request_error', '{what} not found'],
  model_not_found: [
    404,
    'invalid_request_error',
    'The model {model} is not served here; served: {served}',
  ],
  method_not_allowed: [405, 'invalid_request_error', '{method} is not allowed on this path'],
  request_timeout: [408, 'invalid_request_error', 'The request did not arrive in time'],
  invalid_state: [400, 'invalid_request_error', 'The saved answer cannot be restored: {reason}'],
  not_held: [409, 'invalid_request_error', 'There is no answer of {what} left to extend'],
  damaged: [
    410,
    'invalid_request_error',
    'What was stored of {what} is damaged and was set apart; the server has logged which part',
  ],
  body_too_large: [413, 'invalid_request_error', 'The body exceeds {limit} bytes'],
  unsupported_media_type: [415, 'invalid_request_error', 'Content-Type must be application/json'],
  headers_too_large: [431, 'invalid_request_error', 'The headers exceed {limit} bytes'],
  queue_full: [429, 'rate_limit_error', 'The queue is full: {waiting} requests wait, {limit} may'],
  rate_limited: [429, 'rate_limit_error', 'The limit of {limit} is reached'],
  cancelled: [499, 'invalid_request_error', 'The request was cancelled'],
  internal: [500, 'server_error', 'Internal error'],
  engine_failed: [500, 'server_error', 'The engine failed: {reason}'],
  shutting_down: [503, 'server_error', 'The server is shutting down'],
  engine_unavailable: [503, 'server_error', 'The engine of {model} is not ready'],
  limits_unavailable: [503, 'server_error', 'What clients have used cannot be looked up now'],
  storage_unavailable: [
    503,
    'server_error',
    'Stored responses cannot be reached now ({reason}); ask again later, or with store: false',
  ],
  idempotency_unavailable: [
    503,
    'server_error',
    'Whether {param} was used before cannot be looked up now; ask again later, or without it',
  ],
  owner_unavailable: [
    503,
    'server_error',
    'The server that runs {what} does not answer now, or the response still waits for one; ask again later',
  ],
  no_room: [503, 'server_error', 'There is no room for {model} now: other models are in use'],
  invalid_checkpoint: [500, 'server_error', '{path}: {reason}'],
  invalid_tokenizer: [500, 'server_error', '{path}: {reason}'],
  invalid_data: [400, 'invalid_request_error', '{path}: {reason}'],
  backend_missing: [500, 'server_error', 'Engine {engine}: {reason}'],
  training_collapsed: [500, 'server_error', 'The energy collapsed at update {update}: {reason}'],
  in_use: [500, 'server_error', '{path} is in use by another process of Basin'],
  not_written: [
    500,
    'server_error',
    '{path} cannot be written to ({reason}); what was saved before is whole, and the same command goes on from it',
  ],
  training_diverged: [500, 'server_error', 'Training diverged at update {update}: {reason}'],
} as const satisfies Record<string, readonly [number, string, string]>

export type ErrorCode = keyof typeof table
export type Facts = Readonly<Record<string, string | number>>

/** A failure that a user can act on. `facts.param` names the field that caused it. */
export class BasinError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly type: string
  readonly facts: Facts

  constructor(code: ErrorCode, facts: Facts = {}, options?: ErrorOptions) {
    const [status, type, template] = table[code]
    super(
      template.replace(/\{(\w+)\}/g, (_, name: string) => String(facts[name] ?? '?')),
      options,
    )
    this.name = 'BasinError'
    this.code = code
    this.status = status
    this.type = type
    this.facts = facts
  }

  get param(): string | null {
    return typeof this.facts['param'] === 'string' ? this.facts['param'] : null
  }

  /** The body of OpenAI-compatible error replies. */
  toJSON(): { error: { message: string; type: string; param: string | null; code: string } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } }
  }
}

/** An error as plain data, to cross a thread boundary. */
export interface ErrorMessage {
  code: ErrorCode
  facts: Facts
}

export const toErrorMessage = (error: unknown): ErrorMessage =>
  error instanceof BasinError
    ? { code: error.code, facts: error.facts }
    : {
        code: 'engine_failed',
        facts: { reason: error instanceof Error ? error.message : String(error) },
      }

export const fromErrorMessage = (message: ErrorMessage): BasinError =>
  new BasinError(message.code, message.facts)
