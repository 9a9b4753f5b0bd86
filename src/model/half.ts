/** IEEE 754 binary16 (float16): conversion between numbers and their 16 bits. */

/** The largest finite float16; larger magnitudes cannot be stored. */
const LARGEST = 65504

/** The number that the 16 bits stand for. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >> 10) & 31
  const fraction = half & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? NaN : sign * Infinity
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

let table: Float32Array | undefined

/** Converts many at once, by a table of all 65,536. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 1 << 16 }, (_, half) => halfToFloat(half))
  const numbers = new Float32Array(halves.length)
  for (let i = 0; i < halves.length; i++) numbers[i] = table[halves[i] as number] as number
  return numbers
}

/** Rounds to the nearest integer, halves to the even one. */
function nearest(x: number): number {
  const below = Math.floor(x)
  const rest = x - below
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1
}

/** The bits of the nearest float16 of each number. Undefined if one is too large. */
export function floatsToHalves(numbers: Float32Array): Uint16Array | undefined {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
  const halves = new Uint16Array(numbers.length)
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number
    const magnitude = Math.abs(numbers[i] as number)
    if (!(magnitude <= LARGEST)) return undefined
    const exponent = ((word >>> 23) & 255) - 127
    // Below 2^-14 float16 numbers are evenly spaced. Above, a carry out of the fraction raises the exponent.
    const bits =
      exponent < -14
        ? nearest(magnitude * 2 ** 24)
        : (exponent + 15) * 1024 + nearest((word & 0x7fffff) / 8192)
    halves[i] = ((word >>> 16) & 0x8000) | bits
  }
  return halves
}
