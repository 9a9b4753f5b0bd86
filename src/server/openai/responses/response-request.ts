/** From a request for a response to a request for an engine, and to the fields of the response that follow from it. */
import { randomUUID } from 'node:crypto'
import { BasinError } from '../../../errors.js'
import type { EngineClient } from '../../../generation/client/engine-client.js'
import { checkThought } from '../../../generation/thought-bytes.js'
import type { ModelConfig } from '../../../model/config.js'
import type { Limits } from '../../limits.js'
import type { NewRequest } from '../../requests/request-service.js'
import { requestFrom, roomAfter } from '../../requests/request-settings.js'
import type { ResponseRequest } from '../../schemas/response-schema.js'
import { responseRefusals, withoutEffect } from '../../schemas/openai-fields.js'
import type { ConversationPrompt } from '../chat-prompt.js'
import { refuseFields } from '../refuse-fields.js'
import type { AskedTools, OfferedTools } from '../tools.js'
import type { ResponseHead, ResponseMeta } from './response-event-writer.js'
import type { StateContent } from './response-state.js'

/** What the text of a response may be. */
const formats: readonly string[] = ['text', 'json_object', 'json_schema']

/** Throws `not_supported` or `invalid_request` for what this server does not do. */
export function refuseUnsupported(body: ResponseRequest): void {
  refuseFields(body, responseRefusals)
  const refuse = (param: string, reason: string) => {
    throw new BasinError('not_supported', { param, reason })
  }
  const format = body.text?.format?.type ?? 'text'
  if (!formats.includes(format))
    refuse('text.format.type', `it must be one of ${formats.join(', ')}`)
  if ((body.truncation ?? 'disabled') !== 'disabled') refuse('truncation', 'prompts are never cut')
  if (body.background && body.store === false) {
    const reason = 'needs store: true'
    throw new BasinError('invalid_request', { param: 'background', reason })
  }
}

/** Throws `not_supported` for a tool, or a choice of one, that is no function. */
export function toolsOf({ tool_choice: choice, tools }: ResponseRequest): AskedTools {
  const refuse = (param: string, type: string) =>
    new BasinError('not_supported', {
      param,
      reason: `models here call functions, and no tool of type ${type}`,
    })
  const required = (value: string | undefined, param: string): string => {
    if (value !== undefined) return value
    throw new BasinError('invalid_request', { param, reason: 'is required' })
  }
  // Clients send an empty list where they have none.
  const functions = (tools?.length ? tools : undefined)?.map(
    ({ description, name, parameters, type }, i) => {
      if (type !== 'function') throw refuse('tools', type)
      return { name: required(name, `tools.${i}.name`), description, parameters }
    },
  )
  if (!choice || typeof choice === 'string') return { functions, choice: choice ?? 'auto' }
  if (choice.type !== 'function') throw refuse('tool_choice', choice.type)
  const param = 'tool_choice.name'
  return { functions, choice: { name: required(choice.name, param), param } }
}

const wantsLogprobs = ({ include, top_logprobs: top }: ResponseRequest): number | null =>
  include?.includes('message.output_text.logprobs') || typeof top === 'number' ? (top ?? 0) : null

const wantsRefinement = ({ include, stream_options: options }: ResponseRequest): boolean =>
  (options?.include_refinement ?? false) || (include?.includes('basin:refinement_step') ?? false)

/** Completions and chats have the second name. */
const effortOf = ({ reasoning, reasoning_effort: effort }: ResponseRequest) =>
  reasoning?.effort ?? effort ?? null

/** Throws `out_of_range` naming the field. */
export function engineRequestOf(
  body: ResponseRequest,
  { prompt, template }: ConversationPrompt,
  model: ModelConfig,
  limits: Limits,
  offered?: OfferedTools,
): NewRequest {
  const logprobs = wantsLogprobs(body)
  if (offered && logprobs !== null) {
    const param = typeof body.top_logprobs === 'number' ? 'top_logprobs' : 'include'
    const reason = 'calls have no log-probabilities; leave it or tools out'
    throw new BasinError('not_supported', { param, reason })
  }
  const settings = {
    ...body,
    template: template ?? null,
    max_tokens: body.max_output_tokens ?? roomAfter(prompt.length, model),
    reasoning_effort: effortOf(body),
    logprobs,
    ...(offered?.grammar && { implied: offered.grammar }),
  }
  return {
    ...requestFrom(settings, model, limits),
    prompt,
    ...(typeof body.template !== 'string' && { templateParam: 'input' }),
    hold: false,
    reportSteps: wantsRefinement(body),
  }
}

/** What a request may have beside a state, which has all else. */
const besideState: ReadonlySet<string> = new Set([
  'background',
  'include',
  'metadata',
  'model',
  'resume_from',
  'store',
  'stream',
  'stream_options',
  ...Object.keys(withoutEffect),
])

/**
 * The request that a state was saved of, as this client wants to follow it. Throws `invalid_request` for a field
 * that the state has, `invalid_state` where it is of another model or of other weights, `out_of_range` beyond the
 * operator's caps.
 */
export function engineRequestFrom(
  body: ResponseRequest,
  { limits: granted, model: name, request, thought }: StateContent,
  { engine: info, identity, model }: Pick<EngineClient, 'engine' | 'identity' | 'model'>,
  { caps }: Limits,
): NewRequest {
  for (const [param, value] of Object.entries(body)) {
    if (value === null || value === undefined || besideState.has(param)) continue
    const reason = 'it comes with resume_from; leave it out'
    throw new BasinError('invalid_request', { param, reason })
  }
  if (name !== model.name) {
    const reason = `it is of the model ${name}, and the request names ${model.name}`
    throw new BasinError('invalid_state', { reason })
  }
  checkThought({ identity, info }, thought)
  const budget = { ...request.budget, ...granted }
  const check = (what: string, value: number | undefined, most: number) => {
    if (value === undefined || value <= most) return
    const bound = `of an answer of at most ${most} ${what}`
    throw new BasinError('out_of_range', { param: 'resume_from', bound, value })
  }
  check('steps', budget.maxSteps, caps.maxSteps)
  check('seconds', budget.maxSeconds, caps.maxSeconds)
  check('candidates', budget.candidates, caps.candidates)
  const reportSteps = wantsRefinement(body)
  return { ...request, reportSteps, from: { thought, repeats: false } }
}

/** Its model knows the tools in `head`, if it may call any. */
function metaOf(
  head: ResponseHead,
  body: ResponseRequest,
  { tools }: Pick<EngineClient, 'tools'>,
): ResponseMeta {
  const offers = head.tools.length > 0 && head.tool_choice !== 'none'
  return {
    head,
    itemId: `msg_${randomUUID()}`,
    refinement: wantsRefinement(body),
    ...(offers && tools && { calls: tools }),
  }
}

/** The response that goes on where the one of `content` was. */
export function continuedMetaOf(
  body: ResponseRequest,
  { given, head }: StateContent,
  engine: Pick<EngineClient, 'tools'>,
): ResponseMeta {
  const continued = {
    ...head,
    id: `resp_${randomUUID()}`,
    created_at: Math.floor(Date.now() / 1000),
    background: body.background ?? false,
    store: body.store ?? true,
    metadata: body.metadata ?? {},
  }
  return { ...metaOf(continued, body, engine), given }
}

export function responseMetaOf(
  body: ResponseRequest,
  { sampling }: NewRequest,
  engine: Pick<EngineClient, 'model' | 'tools'>,
): ResponseMeta {
  const tools = body.tools ?? []
  const head = {
    id: `resp_${randomUUID()}`,
    created_at: Math.floor(Date.now() / 1000),
    background: body.background ?? false,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model: engine.model.name,
    parallel_tool_calls: tools.length > 0,
    previous_response_id: body.previous_response_id ?? null,
    reasoning: { effort: effortOf(body), summary: null },
    store: body.store ?? true,
    temperature: sampling.temperature,
    text: { format: body.text?.format ?? { type: 'text' as const } },
    tool_choice: body.tool_choice ?? (tools.length > 0 ? ('auto' as const) : ('none' as const)),
    tools,
    top_p: sampling.topP,
    truncation: 'disabled' as const,
    metadata: body.metadata ?? {},
    seed: sampling.seed,
  }
  return metaOf(head, body, engine)
}
