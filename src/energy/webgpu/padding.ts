/**
 * Matrices between the host and the device: the device pads their rows to whole vectors of four numbers, the
 * host does not.
 */

/** `data`, a matrix of `rows` rows, with rows of `width` numbers: cut off, or filled with zeros. */
export function withRowWidth(data: Float32Array, rows: number, width: number): Float32Array {
  const present = data.length / rows
  if (present === width) return data.slice()
  const numbers = new Float32Array(rows * width)
  for (let i = 0; i < rows; i++)
    numbers.set(data.subarray(i * present, i * present + Math.min(present, width)), i * width)
  return numbers
}
