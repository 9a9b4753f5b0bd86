/**
 * Little stories whose answer is the complete state told in English. People walk, follow each other, pick
 * things up and hand them over; every sentence has the same number of words, and what it does not say is
 * blank: the place to which somebody follows somebody, the thing that is handed over. At the end stand
 * blank clauses that tell for everybody what they have and where they are.
 *
 *     Story: Mary went over to the kitchen. Tom followed Mary to the _. Tom found milk in the _.
 *     Tom gave Mary _ for _. ... Mary has _ in the _. Tom has _ in the _.
 *
 * Each blank is found by looking up one earlier fact: the place of Mary when Tom follows her, the thing
 * that Tom has when he gives it away. A fact that was itself blank has to be found first, so `hops`, the
 * longest chain of lookups, is controlled. A story begins in a random slot of the block, so stories longer
 * than those trained on use the same positions; slots without a sentence are filled with ` -`. This
 * file imports nothing that a browser lacks.
 */
import type { Draws } from './draws.js'

/** What a story is to have. */
export interface StoryPlan {
  sentences: number
  /** Longest chain of lookups. */
  hops: number
  /** Sentences that the block has room for. */
  room: number
}

export const WORLD_BLANK = ' _'
/** Fills slots without a sentence. */
export const WORLD_PAD = ' -'
/** Tokens of a sentence, its full stop included. */
export const SENTENCE = 7
/** People of a story, each with a clause at the end. */
export const PEOPLE = 4
/** Tokens before the first sentence; without them its first word would have no space before it. */
export const HEAD = ['Story', ':'] as const

const names = ['Mary', 'Tom', 'Anna', 'Peter', 'Lucy', 'Ben', 'Emma', 'John'] as const
const places = ['kitchen', 'garden', 'hall', 'office', 'attic', 'cellar', 'garage', 'yard'] as const
const things = ['milk', 'bread', 'honey', 'paper', 'gold', 'silk', 'cheese', 'wine'] as const
const NOTHING = 'nothing'
const walking = ['went', 'walked', 'ran'] as const
const taking = ['took', 'found'] as const
const otherWords = ['over', 'to', 'the', 'followed', 'in', 'gave', 'for', 'has'] as const

/** Every word of a story. */
export const worldWords = [
  ...names,
  ...places,
  ...things,
  NOTHING,
  ...walking,
  ...taking,
  ...otherWords,
]

/** A word that is read: what it is, and how many lookups it takes. */
interface Fact {
  value: string
  hops: number
}

interface Person {
  name: string
  place?: Fact
  thing: Fact
}

/** A word of a sentence; one with hops is blank in the template. */
type Word = string | Fact

/** A fact that is told by looking up another. */
const lookedUp = ({ value, hops }: Fact): Fact => ({ value, hops: hops + 1 })

/** An event that may come next. */
interface Event {
  /** The most lookups that one of its words takes. */
  hops: number
  /** Changes the people and gives the sentence, without its full stop. */
  tell: () => Word[]
}

/**
 * What may happen next, by kind: somebody goes, follows, takes, gives. A thing is given for what the other
 * has. Facts of more than `most` hops, which somebody could ask for again, are not made.
 */
function possibleEvents(
  people: readonly Person[],
  around: readonly string[],
  most: number,
  draws: Draws,
): Event[][] {
  const pick = <T>(items: readonly T[]): T => items[draws.below(items.length)] as T
  const held = new Set(people.map(({ thing }) => thing.value))
  const free = things.filter((thing) => !held.has(thing))
  const pairs = people.flatMap((person) =>
    people.filter((other) => other !== person).map((other) => [person, other] as const),
  )
  const go = people.map((person): Event => ({
    hops: 0,
    tell() {
      const to = pick(around.filter((place) => place !== person.place?.value))
      person.place = { value: to, hops: 0 }
      return [person.name, pick(walking), 'over', 'to', 'the', to]
    },
  }))
  const follow = pairs.flatMap(([person, { name, place }]): Event[] => {
    if (!place || place.hops >= most || place.value === person.place?.value) return []
    const found = lookedUp(place)
    const tell = (): Word[] => {
      person.place = found
      return [person.name, 'followed', name, 'to', 'the', found]
    }
    return [{ hops: found.hops, tell }]
  })
  const take = people.flatMap((person): Event[] => {
    const { place, thing } = person
    if (!place || thing.value !== NOTHING || free.length === 0) return []
    const found = lookedUp(place)
    const tell = (): Word[] => {
      person.thing = { value: pick(free), hops: 0 }
      return [person.name, pick(taking), person.thing.value, 'in', 'the', found]
    }
    return [{ hops: found.hops, tell }]
  })
  const give = pairs.flatMap(([person, other]): Event[] => {
    const apart = !person.place || person.place.value !== other.place?.value
    const hops = Math.max(person.thing.hops, other.thing.hops)
    if (apart || person.thing.value === NOTHING || hops >= most) return []
    const tell = (): Word[] => {
      const given = lookedUp(person.thing)
      person.thing = lookedUp(other.thing)
      other.thing = given
      return [person.name, 'gave', other.name, given, 'for', person.thing]
    }
    return [{ hops: hops + 1, tell }]
  })
  return [go, follow, take, give]
}

/** How often an event of a kind happens where all kinds can: go, follow, take, give. */
const FREQUENCIES: readonly number[] = [1, 2, 2, 4]

/** `keen`: probability of an event of as many hops as any of its kind. */
function drawEvent(kinds: readonly Event[][], keen: number, draws: Draws): Event | undefined {
  const weights = FREQUENCIES.map((weight, kind) => (kinds[kind]?.length ? weight : 0))
  let at = draws.share() * weights.reduce((sum, weight) => sum + weight, 0)
  const events = kinds[weights.findIndex((weight) => (at -= weight) < 0)] ?? []
  const most = Math.max(...events.map(({ hops }) => hops))
  const wanted = draws.share() < keen ? events.filter(({ hops }) => hops === most) : events
  return wanted[draws.below(wanted.length)]
}

function drawSome<T>(items: readonly T[], count: number, draws: Draws): T[] {
  const order = [...items]
  draws.shuffle(order)
  return order.slice(0, count)
}

/**
 * The sentences of a story and the clauses at its end, none with a fact of more than `hops`. Undefined if
 * somebody has not appeared, or if no fact takes so many.
 */
function drawSentences(draws: Draws, sentences: number, hops: number): Word[][] | undefined {
  const people = drawSome(names, PEOPLE, draws).map((name): Person => ({
    name,
    thing: { value: NOTHING, hops: 0 },
  }))
  const around = drawSome(places, draws.within({ min: 3, max: 5 }), draws)
  const keen = draws.share()
  const lines: Word[][] = []
  for (let i = 0; i < sentences; i++) {
    // Whatever is told may be looked up once more by the clauses at the end.
    const event = drawEvent(possibleEvents(people, around, hops - 1, draws), keen, draws)
    if (!event) return undefined
    lines.push(event.tell())
  }
  for (const { name, place, thing } of people) {
    if (!place) return undefined
    lines.push([name, 'has', lookedUp(thing), 'in', 'the', lookedUp(place)])
  }
  const deepest = Math.max(
    ...lines.flat().map((word) => (typeof word === 'string' ? 0 : word.hops)),
  )
  return deepest === hops ? lines : undefined
}

/** A sentence as text, with what is looked up as `blank` says. */
const sentenceOf = (lines: readonly Word[], blank: (word: string) => string): string =>
  `${lines.map((word) => (typeof word === 'string' ? ` ${word}` : blank(word.value))).join('')}.`

/** A story in a random slot of its block; undefined if these random numbers do not lead to one. */
export function drawStory(
  draws: Draws,
  { hops, room, sentences }: StoryPlan,
): { template: string; completion: string } | undefined {
  const lines = drawSentences(draws, sentences, hops)
  if (!lines) return undefined
  const empty = WORLD_PAD.repeat(SENTENCE)
  const before = draws.below(room - sentences + 1)
  const text = (blank: (word: string) => string): string =>
    [
      HEAD.join(''),
      empty.repeat(before),
      ...lines.slice(0, sentences).map((words) => sentenceOf(words, blank)),
      empty.repeat(room - sentences - before),
      ...lines.slice(sentences).map((words) => sentenceOf(words, blank)),
    ].join('')
  return { template: text(() => WORLD_BLANK), completion: text((word) => ` ${word}`) }
}

/** Renames people, places and things in the order of their first appearance, and drops empty slots. */
export function renameStory(text: string): string {
  const kinds = [names, places, things].map((members) => new Set<string>(members))
  const renamed = new Map<string, string>()
  const bare = text.replaceAll(WORLD_PAD, '').replaceAll(/[a-z]+(?= over)/g, 'went')
  return bare.replaceAll('found', 'took').replaceAll(/[A-Za-z]+/g, (word) => {
    const kind = kinds.findIndex((members) => members.has(word))
    if (kind < 0) return word
    const known = renamed.get(word) ?? `${'NPT'.charAt(kind)}${renamed.size}`
    renamed.set(word, known)
    return known
  })
}
