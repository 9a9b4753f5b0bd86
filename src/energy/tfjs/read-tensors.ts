/**
 * How numbers leave TensorFlow.js. A GPU gives them later than it is asked: `dataSync` of the WebGPU backend
 * throws in Node, and gives zeros in a browser. So work is computed in a scope, what is to be read leaves it as
 * one tensor, and that is awaited when the scope has ended. While a scope is open nothing may be awaited: the
 * scopes of a thread are one stack, on which the work of others would be put.
 */
import type { Tensor, Tf } from './backend.js'

/** Frees all that `compute` made, and returns the numbers of the float tensors that it returned. */
export async function readTensors(
  tf: Tf,
  compute: () => readonly Tensor[],
): Promise<Float32Array[]> {
  let sizes: number[] = []
  const joined = tf.tidy(() => {
    const parts = compute()
    sizes = parts.map(({ size }) => size)
    if (parts.length === 0) return tf.tensor1d([])
    return tf.concat(parts.map((t) => tf.reshape(t, [t.size])))
  })
  try {
    const numbers = await joined.data<'float32'>()
    let at = 0
    return sizes.map((size) => numbers.subarray(at, (at += size)))
  } finally {
    joined.dispose()
  }
}

/** What `compute` returned, with all tensors that it made, which live until `free`. */
export function holding<T>(tf: Tf, compute: () => T): { held: T; free: () => void } {
  let held: T | undefined
  const made = tf.tidy(() => {
    held = compute()
    return tf.engine().state.activeScope.track.filter((t) => !t.isDisposed)
  })
  return { held: held as T, free: () => tf.dispose(made) }
}
