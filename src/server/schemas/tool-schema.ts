/** What both of OpenAI's APIs for conversations say of a function that a model may call. */
import { Type } from 'typebox'
import { nullableAnyObject, nullableBoolean, nullableString } from './nullable-schema.js'

export const ToolName = Type.String({ minLength: 1, maxLength: 64 })

/** Besides its name. */
export const functionFields = {
  description: Type.Optional(nullableString(65_536, {})),
  parameters: Type.Optional(nullableAnyObject({ description: 'a JSON schema of the arguments' })),
  strict: Type.Optional(
    nullableBoolean({
      description: 'without effect: calls that are required are held to the schema',
    }),
  ),
}
