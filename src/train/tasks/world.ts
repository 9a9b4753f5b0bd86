/** Stories whose answer is the state of everything (world-story.ts), as a task. */
import { WORD_PATTERN } from '../../tokenizer/template-positions.js'
import { checkRange, type Range, type Task } from './task.js'
import {
  drawStory,
  HEAD,
  PEOPLE,
  renameStory,
  SENTENCE,
  WORLD_BLANK,
  WORLD_PAD,
  worldWords,
} from './world-story.js'

export interface WorldOptions {
  /** Number of sentences of a story, each with equal probability. */
  sentences: Range
  /** Longest chain of lookups, each with equal probability as far as the sentences allow. */
  hops: Range
  /** Sentences that a block has room for. */
  room: number
}

/** The largest room for which K is at most 4,096. */
const MAX_ROOM = 580

export function worldTask({ hops, room, sentences }: WorldOptions): Task {
  checkRange('room', { min: room, max: room }, PEOPLE, MAX_ROOM)
  checkRange('sentences', sentences, PEOPLE, room)
  checkRange('hops', hops, 1, room)
  return {
    name: 'story',
    block: HEAD.length + SENTENCE * (room + PEOPLE),
    blank: WORLD_BLANK,
    layout: { kind: 'sentences', columns: SENTENCE, head: HEAD.length },
    alphabet: [...HEAD, '.', WORLD_PAD, ...worldWords.map((word) => ` ${word}`)],
    pattern: WORD_PATTERN,
    draw(draws) {
      const length = draws.within(sentences)
      const longest = draws.within(hops)
      const story = drawStory(draws, { sentences: length, hops: longest, room })
      return story && { ...story, facts: { hops: longest, sentences: length } }
    },
    form: renameStory,
    answerForm: renameStory,
  }
}
