import { describe, expect, it } from 'vitest'
import { loadBackend } from '../../src/energy/tfjs/backend.js'
import { averagingRate, WeightAverage } from '../../src/train/ema.js'

const { tf } = await loadBackend('wasm', 1)

describe('the moving average of weights', () => {
  it('forgets the first weights soon, and reaches its rate', () => {
    expect(averagingRate(0.99, 0)).toBeCloseTo(0.1)
    expect(averagingRate(0.99, 90)).toBeCloseTo(0.91)
    expect(averagingRate(0.99, 10_000)).toBe(0.99)
  })

  it('is the weighted mean of what it has seen', () => {
    const weight = tf.variable(tf.tensor1d([1, -2]))
    const average = new WeightAverage(tf, 0.5, new Map([['w', weight]]))
    let wanted = [1, -2]
    for (let update = 0; update < 12; update++) {
      const next = [update, update ** 2]
      weight.assign(tf.tensor1d(next))
      average.follow(new Map([['w', weight]]), update)
      const rate = averagingRate(0.5, update)
      wanted = wanted.map((old, i) => rate * old + (1 - rate) * (next[i] as number))
    }
    const found = [...(average.weights.get('w')?.dataSync() ?? [])]
    found.forEach((value, i) => expect(value).toBeCloseTo(wanted[i] as number, 3))
    expect([...weight.dataSync()]).toEqual([11, 121])
  })
})
