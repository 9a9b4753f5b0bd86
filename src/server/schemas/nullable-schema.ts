/** Fields that may be null: OpenAI's clients send null for a field that they leave out. */
import { Type, type TSchemaOptions, type TUnsafe } from 'typebox'

export const nullableInteger = (
  minimum: number,
  maximum: number,
  options: TSchemaOptions,
): TUnsafe<number | null> =>
  Type.Unsafe({ type: ['integer', 'null'], minimum, maximum, ...options })

export const nullableNumber = (
  minimum: number,
  maximum: number,
  options: TSchemaOptions,
): TUnsafe<number | null> => Type.Unsafe({ type: ['number', 'null'], minimum, maximum, ...options })

export const nullableBoolean = (options: TSchemaOptions): TUnsafe<boolean | null> =>
  Type.Unsafe({ type: ['boolean', 'null'], ...options })

/** An object of any fields. Without `additionalProperties` generated clients would take it for an empty one. */
export const nullableAnyObject = (
  options: TSchemaOptions,
): TUnsafe<Record<string, unknown> | null> =>
  Type.Unsafe({ type: ['object', 'null'], additionalProperties: true, ...options })

export const nullableString = (
  maxLength: number,
  options: TSchemaOptions,
): TUnsafe<string | null> => Type.Unsafe({ type: ['string', 'null'], maxLength, ...options })
