/** Answers in slots to bytes and back: the verbs `save` and `restore` (answer-state.ts has the format). */
import { checkContextLength, decodeState, encodeState, type StateOwner } from '../answer-state.js'
import { checkRange } from '../range.js'
import { restored, saved, type SlotTable } from '../slot-table.js'
import type { ContextTable } from './context-table.js'
import type { Device } from './device.js'
import { unknownEnergy } from './kernels/source.js'
import { withRowWidth } from './padding.js'
import type { State } from './program.js'
import type { Shape } from './shape.js'

interface Made {
  device: Device
  shape: Shape
  state: State
  slots: SlotTable
  contexts: ContextTable
}

export class SavedAnswers {
  private readonly owner: StateOwner
  /** The buffers [slots][K][LDS] that an answer is made of, in the order of the saved values. */
  private readonly buffers: readonly GPUBuffer[]
  /** Bytes of one answer in each of them. */
  private readonly bytes: number

  constructor(
    private readonly made: Made,
    identity: Uint8Array,
  ) {
    const { shape, state } = made
    this.buffers = [state.state, state.best, ...(state.last === state.state ? [] : [state.last])]
    this.bytes = 4 * shape.block * shape.ldState
    this.owner = {
      kind: 'webgpu',
      identity,
      block: shape.block,
      vocabSize: shape.vocab,
      values: this.buffers.length * shape.block * shape.stateWidth,
    }
  }

  async save(index: number): Promise<Uint8Array> {
    const { contexts, device, shape, slots, state } = this.made
    const { block, stateWidth } = shape
    const slot = slots.get(index)
    const answers = this.buffers.map((buffer) => ({
      buffer,
      from: index * this.bytes,
      bytes: this.bytes,
    }))
    const energy = { buffer: state.bestEnergies, from: 4 * index, bytes: 4 }
    // Before the wait: what is saved is the answer of this moment.
    const kept = { ...saved(slot, block), contextLength: contexts.length(slot.contextId) }
    const data = await device.submitAndRead(device.encoder(), [energy, ...answers])
    const [[best] = [], ...matrices] = data.map((buffer) => new Float32Array(buffer))
    const values = new Float32Array(this.owner.values)
    for (const [i, matrix] of matrices.entries())
      values.set(withRowWidth(matrix, block, stateWidth), i * block * stateWidth)
    const bestEnergy = best as number
    return encodeState(this.owner, {
      ...kept,
      bestEnergy: bestEnergy >= unknownEnergy ? Infinity : bestEnergy,
      values,
    })
  }

  restore(index: number, contextId: number, bytes: Uint8Array): void {
    const { contexts, device, shape, slots, state } = this.made
    const { block, ldState, stateWidth } = shape
    checkRange('slot', index, shape.slots)
    checkRange('contextId', contextId, shape.contexts)
    const answer = decodeState(this.owner, bytes)
    checkContextLength(answer, contexts.length(contextId))
    const size = block * stateWidth
    for (const [i, buffer] of this.buffers.entries()) {
      const matrix = answer.values.subarray(i * size, (i + 1) * size)
      device.write(buffer, index * this.bytes, withRowWidth(matrix, block, ldState))
    }
    const bestEnergy = Math.min(answer.bestEnergy, unknownEnergy)
    device.write(state.bestEnergies, 4 * index, Float32Array.of(bestEnergy))
    device.write(state.tokens, 4 * index * block, answer.clamped)
    slots.set(index, restored(answer, contextId))
  }
}
