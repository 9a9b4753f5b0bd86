/** IEEE 754 binary16, as numbers' bits: what checkpoints of half the size hold. */

/** Larger magnitudes than this round to infinity. */
const LARGEST = 65504

/** A half's bits to the number. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

let table: Float32Array | undefined

/** Bits of halves to numbers, from a table of all of them. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, half) => halfToFloat(half))
  const numbers = new Float32Array(halves.length)
  for (let i = 0; i < halves.length; i++) numbers[i] = table[halves[i] as number] as number
  return numbers
}

/** To the nearest integer, ties to the even one. */
function nearest(x: number): number {
  const below = Math.floor(x)
  const rest = x - below
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1
}

/** Numbers to the bits of the nearest halves. Undefined where one is too large for any. */
export function floatsToHalves(numbers: Float32Array): Uint16Array | undefined {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
  const halves = new Uint16Array(numbers.length)
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number
    const magnitude = Math.abs(numbers[i] as number)
    if (!(magnitude <= LARGEST)) return undefined
    const exponent = ((word >>> 23) & 255) - 127
    // Below 2^-14 halves are evenly spaced; above, a carry out of the fraction is the next exponent.
    const bits =
      exponent < -14
        ? nearest(magnitude * 2 ** 24)
        : (exponent + 15) * 1024 + nearest((word & 0x7fffff) / 8192)
    halves[i] = ((word >>> 16) & 0x8000) | bits
  }
  return halves
}
