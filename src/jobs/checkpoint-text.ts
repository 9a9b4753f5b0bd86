/** A checkpoint as text, as stores keep it: JSON, in which the thought is in base64. */
import type { Checkpoint } from './store.js'

export const checkpointText = (checkpoint: Checkpoint): string =>
  JSON.stringify({ ...checkpoint, thought: Buffer.from(checkpoint.thought).toString('base64') })

export function checkpointIn(text: string): Checkpoint {
  const { thought, ...others } = JSON.parse(text) as Omit<Checkpoint, 'thought'> & {
    thought: string
  }
  return { ...others, thought: new Uint8Array(Buffer.from(thought, 'base64')) }
}
