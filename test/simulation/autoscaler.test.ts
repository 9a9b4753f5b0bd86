import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readScalingRule, recommended, scaled } from '../../bench/simulation/autoscaler.js'
import { root } from '../house/source.js'

const rule = readScalingRule(join(root, 'docker/kubernetes/autoscaler.yaml'))

describe('the rule of the Kubernetes manifest', () => {
  it('is read as it stands there', () => {
    expect(rule).toMatchObject({ least: 1, target: 4, upAfter: 30, downAfter: 300 })
    expect(rule.most).toBeGreaterThan(1)
    expect(rule).toMatchObject({ downBy: 1, downEvery: 60 })
  })

  it('asks for as many replicas as bring the queue to its target', () => {
    expect(recommended(rule, 2, 8)).toBe(4)
    expect(recommended(rule, 3, 5)).toBe(4)
    expect(recommended(rule, 4, 0)).toBe(rule.least)
    expect(recommended(rule, 4, 1000)).toBe(rule.most)
  })

  it('leaves the number where the queue misses its target by a tenth at most', () => {
    expect(recommended(rule, 5, 4.3)).toBe(5)
    expect(recommended(rule, 5, 3.7)).toBe(5)
    expect(recommended(rule, 5, 4.5)).toBe(6)
  })

  it('adds replicas once the higher number was wanted for its time', () => {
    const history = [
      { at: 0, replicas: 2 },
      { at: 15, replicas: 5 },
      { at: 30, replicas: 4 },
    ]
    expect(scaled(rule, 2, history, 30, -Infinity)).toBe(2)
    expect(scaled(rule, 2, [...history, { at: 45, replicas: 6 }], 45, -Infinity)).toBe(4)
  })

  it('removes replicas one after the other, and late', () => {
    // What is recommended at 15-second looks: four, and from 15 s on only one.
    const until = (now: number) =>
      Array.from({ length: now / 15 + 1 }, (_, i) => ({ at: 15 * i, replicas: i === 0 ? 4 : 1 }))
    expect(scaled(rule, 4, until(300), 300, -Infinity)).toBe(4)
    expect(scaled(rule, 4, until(315), 315, -Infinity)).toBe(3)
    expect(scaled(rule, 3, until(330), 330, 315)).toBe(3)
    expect(scaled(rule, 3, until(375), 375, 315)).toBe(2)
  })
})
