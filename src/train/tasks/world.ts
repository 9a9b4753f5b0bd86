/** Stories whose answer is the state of everything (world-story.ts), as a task. */
import { WORD_PATTERN } from '../../tokenizer/template-positions.js'
import { checkRange, type Range, type Task } from './task.js'
import {
  CLAUSE,
  drawStory,
  HEAD,
  people,
  renameStory,
  SENTENCE,
  SLOT,
  WORLD_BLANK,
  WORLD_PAD,
  worldWords,
} from './world-story.js'

export interface WorldOptions {
  /** Number of sentences of a story, each with equal probability. */
  sentences: Range
  /** Most people that one fact passes through, each number with equal probability as far as the sentences allow. */
  hops: Range
  /** Sentences that a block has room for. */
  room: number
}

/** The largest room for which K is at most 4,096. */
const MAX_ROOM = 292

export function worldTask({ hops, room, sentences }: WorldOptions): Task {
  checkRange('room', { min: room, max: room }, 1, MAX_ROOM)
  checkRange('sentences', sentences, 1, room)
  checkRange('hops', hops, 0, room)
  return {
    name: 'story',
    block: HEAD.length + SLOT * room,
    blank: WORLD_BLANK,
    layout: {
      kind: 'sentences',
      head: HEAD.length,
      sentence: SENTENCE,
      clauses: people.length,
      clause: CLAUSE,
    },
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
