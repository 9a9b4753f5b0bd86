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

/** The schema of each type of frame. */
export const clientFrames = {
  start: StartFrame,
  extend: ExtendFrame,
  finish: Type.Object({ type: Type.Literal('finish') }, exact),
  cancel: Type.Object({ type: Type.Literal('cancel') }, exact),
  pause: Type.Object({ type: Type.Literal('pause') }, exact),
  resume: Type.Object({ type: Type.Literal('resume') }, exact),
}

export type ClientFrame =
  StartFrame | Static<typeof ExtendFrame> | { type: 'finish' | 'cancel' | 'pause' | 'resume' }
