import { describe, expect, it } from 'vitest'
import { StopMatcher } from '../../src/tokenizer/stop-strings.js'

/** All text that is emitted when the given parts are fed one after the other. */
function run(stops: readonly string[], parts: readonly string[]) {
  const matcher = new StopMatcher(stops)
  let text = ''
  let stopped = false
  for (const part of parts) {
    const matched = matcher.feed(part)
    text += matched.emit
    stopped = matched.stopped
  }
  return { text: text + matcher.flush(), stopped }
}

const cases: [string[], string, { text: string; stopped: boolean }][] = [
  [[], 'abc', { text: 'abc', stopped: false }],
  [['END'], 'abENcENDxyz', { text: 'abENc', stopped: true }],
  [['\n\n'], 'a\nb\n\nc', { text: 'a\nb', stopped: true }],
  [['aab'], 'aaaab', { text: 'aa', stopped: true }],
  [['abab'], 'ababab', { text: '', stopped: true }],
  [['abcd', 'bc'], 'xabcd', { text: 'xa', stopped: true }],
  [['bcd', 'abcd'], 'xabcd', { text: 'x', stopped: true }],
  [['😀!'], 'a😀?😁😀!', { text: 'a😀?😁', stopped: true }],
  [['END'], 'abEN', { text: 'abEN', stopped: false }],
]

describe('StopMatcher', () => {
  it.each(cases)('stops %j in %j, however the text is split', (stops, text, expected) => {
    expect(run(stops, Array.from(text))).toEqual(expected)
    for (let i = 0; i <= text.length; i++) {
      for (let j = i; j <= text.length; j++) {
        const parts = [text.slice(0, i), text.slice(i, j), text.slice(j)]
        expect(run(stops, parts)).toEqual(expected)
      }
    }
  })

  it('holds back only what may begin a stop string', () => {
    const matcher = new StopMatcher(['stop', 'top hat'])
    expect(matcher.feed('a st')).toEqual({ emit: 'a ', stopped: false })
    expect(matcher.feed('o')).toEqual({ emit: '', stopped: false })
    expect(matcher.feed('w')).toEqual({ emit: 'stow', stopped: false })
    expect(matcher.feed('stop')).toEqual({ emit: '', stopped: true })
  })

  it('stays stopped', () => {
    const matcher = new StopMatcher(['x'])
    matcher.feed('ax')
    expect(matcher.feed('more')).toEqual({ emit: '', stopped: true })
    expect(matcher.flush()).toBe('')
  })
})
