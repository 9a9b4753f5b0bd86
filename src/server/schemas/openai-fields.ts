/**
 * Fields of OpenAI's API that mean nothing here, and those that would mean something which models here cannot
 * do. The first are accepted, since clients send them unasked; the second pass the schema with any value, so
 * that openai/refuse-fields.ts can say why they are refused.
 */
import { Type, type TOptional, type TUnknown } from 'typebox'
import { nullableAnyObject, nullableBoolean, nullableString } from './nullable-schema.js'

const unused = { description: 'without effect' }

/** For OpenAI's accounts, caches and safety checks. */
export const withoutEffect = {
  user: Type.Optional(nullableString(512, unused)),
  metadata: Type.Optional(nullableAnyObject(unused)),
  store: Type.Optional(nullableBoolean(unused)),
  service_tier: Type.Optional(nullableString(64, unused)),
  safety_identifier: Type.Optional(nullableString(512, unused)),
  prompt_cache_key: Type.Optional(nullableString(512, unused)),
  prompt_cache_retention: Type.Optional(nullableString(32, unused)),
  prompt_cache_options: Type.Optional(nullableAnyObject(unused)),
}

/** Why a field is not supported, by its name. */
export type Refusals = Readonly<Record<string, string>>

export const chatRefusals = {
  audio: 'models here write text',
  functions: 'use tools',
  function_call: 'use tool_choice',
  web_search_options: 'models here search nothing',
  moderation: 'models here are not moderated',
} as const satisfies Refusals

export const responseRefusals = {
  conversation: 'use previous_response_id',
  prompt: 'use input',
  context_management: 'conversations are never cut or summarised',
  moderation: 'models here are not moderated',
} as const satisfies Refusals

/** A field for each of these refusals. */
export const refusedFields = <T extends string>(refusals: Readonly<Record<T, string>>) =>
  Object.fromEntries(
    Object.entries<string>(refusals).map(([name, reason]) => [
      name,
      Type.Optional(Type.Unknown({ description: `not supported: ${reason}` })),
    ]),
  ) as Record<T, TOptional<TUnknown>>
