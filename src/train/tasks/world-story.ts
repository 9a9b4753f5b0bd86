/**
 * Little stories with the complete state told after every sentence. Three people enter places, go to each
 * other, take things and trade; the sentences are given, and what everybody has and where they are after each
 * of them is blank:
 *
 *     Story: Mary entered the kitchen. Mary _ _ Tom _ _ Anna _ _ Tom went to Mary. Mary _ _ Tom _ _ Anna _ _
 *
 * whose first clauses are ` Mary nothing kitchen Tom nothing away Anna nothing away`. So every fact has a place
 * of its own at every moment, and each follows from the facts before it and one sentence. `hops` is how often
 * a fact has passed from one person to another: to whoever went to somebody, and with whoever traded. A story
 * begins in a random slot of its block, so stories longer than those trained on use the same positions; slots
 * without a sentence are filled with ` -`. This file imports nothing that a browser lacks.
 */
import type { Draws } from './draws.js'

/** What a story is to have. */
export interface StoryPlan {
  sentences: number
  /** Most people that one fact passes through after the first. */
  hops: number
  /** Sentences that the block has room for. */
  room: number
}

export const WORLD_BLANK = ' _'
/** Fills slots without a sentence. */
export const WORLD_PAD = ' -'
/** Tokens of a sentence, its full stop included. */
export const SENTENCE = 5
/** Each has a clause after every sentence, in this order. */
export const people = ['Mary', 'Tom', 'Anna'] as const
/** Tokens of a clause: who, what they have, where they are. */
export const CLAUSE = 3
/** Tokens of a sentence and of the clauses after it. */
export const SLOT = SENTENCE + people.length * CLAUSE
/** Tokens before the first sentence; without them its first word would have no space before it. */
export const HEAD = ['Story', ':'] as const

const places = ['kitchen', 'garden', 'hall', 'office', 'attic', 'cellar', 'garage', 'yard'] as const
const things = ['milk', 'bread', 'honey', 'paper', 'gold', 'silk', 'cheese', 'wine'] as const
/** What somebody has, and where they are, before any sentence. */
const [NOTHING, AWAY] = ['nothing', 'away']
const otherWords = ['entered', 'the', 'went', 'to', 'took', 'traded', 'with'] as const

/** Every word of a story. */
export const worldWords = [...people, ...places, ...things, NOTHING, AWAY, ...otherWords]

/** What somebody has or where they are, and how many people the fact came through. */
interface Fact {
  value: string
  hops: number
}

interface Person {
  name: string
  place: Fact
  thing: Fact
}

const passedOn = ({ hops, value }: Fact): Fact => ({ value, hops: hops + 1 })

/** An event that may come next. */
interface Event {
  hops: number
  /** Changes the state and gives the words of the sentence, without its full stop. */
  happen: () => string[]
}

/** What may happen next, by kind; facts of more than `most` hops are not made. */
function possibleEvents(
  state: readonly Person[],
  around: readonly string[],
  most: number,
  draws: Draws,
): Event[][] {
  const pick = <T>(items: readonly T[]): T => items[draws.below(items.length)] as T
  const held = new Set(state.map(({ thing }) => thing.value))
  const free = things.filter((thing) => !held.has(thing))
  const present = state.filter(({ place }) => place.value !== AWAY)
  const pairs = state.flatMap((person) =>
    present.filter((other) => other !== person).map((other) => [person, other] as const),
  )
  const enter = state.map((person): Event => ({
    hops: 0,
    happen() {
      const value = pick(around.filter((place) => place !== person.place.value))
      person.place = { value, hops: 0 }
      return [person.name, 'entered', 'the', value]
    },
  }))
  const follow = pairs
    .filter(([person, { place }]) => place.value !== person.place.value && place.hops < most)
    .map(([person, { name, place }]): Event => ({
      hops: place.hops + 1,
      happen() {
        person.place = passedOn(place)
        return [person.name, 'went', 'to', name]
      },
    }))
  const take = present
    .filter(({ thing }) => thing.value === NOTHING)
    .map((person): Event => ({
      hops: 0,
      happen() {
        person.thing = { value: pick(free), hops: 0 }
        return [person.name, 'took', 'the', person.thing.value]
      },
    }))
  const trade = pairs
    .filter(
      ([{ place, thing }, other]) =>
        place.value === other.place.value &&
        thing.value !== other.thing.value &&
        Math.max(thing.hops, other.thing.hops) < most,
    )
    .map(([person, other]): Event => ({
      hops: Math.max(person.thing.hops, other.thing.hops) + 1,
      happen() {
        const given = passedOn(person.thing)
        person.thing = passedOn(other.thing)
        other.thing = given
        return [person.name, 'traded', 'with', other.name]
      },
    }))
  return [enter, follow, take, trade]
}

/** How often an event of a kind happens where all kinds can: enter, follow, take, trade. */
const FREQUENCIES: readonly number[] = [1, 2, 2, 4]

/** `deepShare`: how often the event is drawn from those with the most hops of its kind, and not from all of it. */
function drawEvent(kinds: readonly Event[][], deepShare: number, draws: Draws): Event | undefined {
  const weights = FREQUENCIES.map((weight, kind) => (kinds[kind]?.length ? weight : 0))
  let at = draws.share() * weights.reduce((sum, weight) => sum + weight, 0)
  const events = kinds[weights.findIndex((weight) => (at -= weight) < 0)] ?? []
  const most = Math.max(...events.map(({ hops }) => hops))
  const wanted = draws.share() < deepShare ? events.filter(({ hops }) => hops === most) : events
  return wanted[draws.below(wanted.length)]
}

function drawSome<T>(items: readonly T[], count: number, draws: Draws): T[] {
  const order = [...items]
  draws.shuffle(order)
  return order.slice(0, count)
}

/** A slot: its sentence, and the words of its clauses in their order. */
interface Slot {
  sentence: string
  clauses: { name: string; thing: string; place: string }[]
}

/** Undefined if no fact has come to so many hops. */
function drawSlots(draws: Draws, sentences: number, hops: number): Slot[] | undefined {
  const state = people.map((name): Person => {
    return { name, thing: { value: NOTHING, hops: 0 }, place: { value: AWAY, hops: 0 } }
  })
  const around = drawSome(places, draws.within({ min: 2, max: 4 }), draws)
  const deepShare = draws.share()
  let deepest = 0
  const slots: Slot[] = []
  for (let i = 0; i < sentences; i++) {
    const event = drawEvent(possibleEvents(state, around, hops, draws), deepShare, draws)
    if (!event) return undefined
    deepest = Math.max(deepest, event.hops)
    slots.push({
      sentence: `${event
        .happen()
        .map((word) => ` ${word}`)
        .join('')}.`,
      clauses: state.map(({ name, place, thing }) => {
        return { name, thing: thing.value, place: place.value }
      }),
    })
  }
  return deepest === hops ? slots : undefined
}

/** A story in a random slot of its block; undefined if these random numbers do not lead to one. */
export function drawStory(
  draws: Draws,
  { hops, room, sentences }: StoryPlan,
): { template: string; completion: string } | undefined {
  const slots = drawSlots(draws, sentences, hops)
  if (!slots) return undefined
  const empty = WORLD_PAD.repeat(SLOT)
  const before = draws.below(room - sentences + 1)
  const text = (fact: (word: string) => string): string =>
    [
      HEAD.join(''),
      empty.repeat(before),
      ...slots.flatMap(({ clauses, sentence }) => [
        sentence,
        ...clauses.map(({ name, place, thing }) => ` ${name}${fact(thing)}${fact(place)}`),
      ]),
      empty.repeat(room - sentences - before),
    ].join('')
  return { template: text(() => WORLD_BLANK), completion: text((word) => ` ${word}`) }
}

/** The sentences of a template, with people, places and things renamed in the order of their appearance. */
export function renameStory(text: string): string {
  const kinds = [people, places, things].map((members) => new Set<string>(members))
  const renamed = new Map<string, string>()
  // Clauses stand before a sentence in the text up to its full stop, and follow from the sentences.
  const sentences = text.split('.').slice(0, -1)
  return sentences
    .map((sentence) =>
      sentence
        .split(' ')
        .slice(1 - SENTENCE)
        .map((word) => {
          const kind = kinds.findIndex((members) => members.has(word))
          if (kind < 0) return word
          const known = renamed.get(word) ?? `${'NPT'.charAt(kind)}${renamed.size}`
          renamed.set(word, known)
          return known
        })
        .join(' '),
    )
    .join('. ')
}
