import { describe, expect, it } from 'vitest'
import { Agenda } from '../../bench/simulation/agenda.js'
import { Draws } from '../../src/train/tasks/draws.js'

describe('an agenda', () => {
  it('takes sources in the order of their times, which never go back', () => {
    const agenda = new Agenda()
    const draws = new Draws(1, 1)
    const times = new Map<number, number>()
    const taken: number[] = []
    for (let i = 0; i < 5000; i++) {
      const source = draws.below(200)
      if (draws.share() < 0.7) {
        const time = draws.share() < 0.1 ? Infinity : agenda.now + draws.share()
        agenda.set(source, time)
        times.set(source, time)
      } else {
        const earliest = Math.min(...times.values())
        expect(agenda.earliest).toBe(times.size === 0 ? Infinity : earliest)
        const next = agenda.take()
        if (next === undefined) continue
        expect(times.get(next)).toBe(earliest)
        times.delete(next)
        taken.push(agenda.now)
      }
    }
    expect(taken.length).toBeGreaterThan(500)
    expect(taken).toEqual([...taken].sort((a, b) => a - b))
  })

  it('takes sources of one time in the order of their numbers', () => {
    const agenda = new Agenda()
    for (const source of [5, 1, 4, 2, 3]) agenda.set(source, 7)
    expect([1, 2, 3, 4, 5].map(() => agenda.take())).toEqual([1, 2, 3, 4, 5])
  })

  it('refuses a time that is past', () => {
    const agenda = new Agenda()
    agenda.set(0, 2)
    agenda.take()
    expect(() => agenda.set(1, 1)).toThrow(RangeError)
    expect(() => agenda.set(1, NaN)).toThrow(RangeError)
  })
})
