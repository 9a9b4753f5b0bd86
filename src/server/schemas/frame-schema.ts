/** The frames that a client sends on `/v1/refine`. */
import { Type, type Static } from 'typebox'
import { exact, extension, settings, Token } from './settings-schema.js'

export const StartFrame = Type.Object(
  {
    type: Type.Literal('start'),
    prompt: Type.Optional(Type.Union([Type.String(), Type.Array(Token), Type.Null()])),
    ...settings,
    hold: Type.Optional(
      Type.Boolean({ description: 'keep the finished answer for an extend; default true' }),
    ),
  },
  exact,
)
export type StartFrame = Static<typeof StartFrame>

export const ExtendFrame = Type.Object(
  {
    type: Type.Literal('extend'),
    ...extension,
  },
  exact,
)

export const ClampFrame = Type.Object(
  {
    type: Type.Literal('clamp'),
    position: Type.Integer({
      minimum: 0,
      maximum: 2 ** 31 - 1,
      description: 'of the answer in the completion, in tokens, as in `step`',
    }),
    text: Type.String({
      minLength: 1,
      maxLength: 256,
      description: 'one token; the mark of a blank opens the position',
    }),
  },
  exact,
)

/** The schema of each type of frame. */
export const clientFrames = {
  start: StartFrame,
  extend: ExtendFrame,
  finish: Type.Object({ type: Type.Literal('finish') }, exact),
  cancel: Type.Object({ type: Type.Literal('cancel') }, exact),
  pause: Type.Object({ type: Type.Literal('pause') }, exact),
  resume: Type.Object({ type: Type.Literal('resume') }, exact),
  clamp: ClampFrame,
}

export type ClientFrame =
  | StartFrame
  | Static<typeof ExtendFrame>
  | Static<typeof ClampFrame>
  | { type: 'finish' | 'cancel' | 'pause' | 'resume' }
