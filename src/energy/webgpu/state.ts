/** Buffers that live as long as an engine: slots, the context cache, and what calls bring and take. */
import type { Activations } from './activations.js'
import type { Device } from './device.js'
import type { Memory } from './memory.js'
import { mostTop } from './kernels/source.js'
import { withRowWidth } from './padding.js'
import type { State } from './program.js'
import { rowBytes } from './device-rows.js'
import { resultNumbers, submission } from './runner.js'
import { webgpuPageSize, type Shape } from './shape.js'

export function makeState(shape: Shape, memory: Memory, { positions }: Activations): State {
  const { block, caches, ld, ldState, layers, pages, residual, contexts, slots } = shape
  const answers = slots * block
  const state = memory.storage('states of slots', answers * ldState)
  const cache = caches * (pages + 1) * webgpuPageSize * 2 * ld
  const made: State = {
    rounds: memory.uniforms(submission.programs),
    rows: memory.storage('rows', (submission.rows * rowBytes) / 4),
    results: memory.storage('results', submission.rows * resultNumbers),
    tokens: memory.storage('tokens', answers + positions),
    state,
    best: memory.storage('best answers of slots', answers * ldState),
    pushes: memory.storage('pushes of slots', answers * ldState),
    last: residual ? memory.storage('read-outs of slots', answers * ldState) : state,
    bestEnergies: memory.storage('energies of slots', slots),
    pages: memory.storage('page tables', contexts * shape.pagesPerContext),
    kv: Array.from({ length: layers }, () => memory.storage('keys and values', cache)),
    top: memory.storage('likeliest tokens', positions * mostTop * 2),
    drawn: memory.storage('drawn tokens', positions),
  }
  if (shape.contextDrafts) made.drafts = memory.storage('drafts', contexts * ld)
  if (shape.anchored) made.anchors = memory.storage('anchors', contexts * ld)
  return made
}

/** The states of answers as the device holds them at this moment, [K, W] of each slot. */
export async function statesOf(
  { device, shape, state }: { device: Device; shape: Shape; state: State },
  slots: readonly number[],
): Promise<Float32Array[]> {
  if (slots.length === 0) return []
  const { block, ldState, stateWidth } = shape
  const bytes = 4 * block * ldState
  const ranges = slots.map((slot) => ({ buffer: state.state, from: slot * bytes, bytes }))
  const data = await device.submitAndRead(device.encoder(), ranges)
  return data.map((matrix) => withRowWidth(new Float32Array(matrix), block, stateWidth))
}
