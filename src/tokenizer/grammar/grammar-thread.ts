/**
 * The entry of a thread that compiles the grammars of requests and finds the masks of their tokens, beside the
 * engine: what a stranger's grammar costs, no other request waits for. The next mask is found as soon as a
 * token is known, while the engine descends to the answer that needs it.
 */
import { format } from 'node:util'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { GrammarMatcher } from '@mlc-ai/web-xgrammar'
import { toErrorMessage } from '../../errors.js'
import { openTokenizer } from '../tokenizer.js'
import type { FromGrammarThread, GrammarThreadData, ToGrammarThread } from './grammar-messages.js'
import { doze, type MaskMemory, readChanges, sleep, timesWoken, writeMask } from './mask-memory.js'
import { BETWEEN_CHARACTERS, Utf8Tokens } from './utf8-tokens.js'
import { GrammarCompiler } from './xgrammar.js'

if (!parentPort) throw new Error('grammar-thread.js runs in a worker thread')
const port = parentPort
const { wakeup, directory, tokens } = workerData as GrammarThreadData

/** What the library writes to the console of this thread: reasons, which are returned to whoever asked. */
let complaints: string[] = []
console.error = (...parts: unknown[]) => complaints.push(format(...parts))
const takeComplaints = (): string[] => {
  const taken = complaints
  complaints = []
  return taken
}

const tokenizer = openTokenizer(directory)
const special = new Set(tokenizer.special.values())
const nothing = new Uint8Array(0)
// A special token is no text, so no grammar contains it.
const vocabulary = Array.from({ length: tokens }, (_, id) =>
  id < tokenizer.vocabSize && !special.has(id) ? tokenizer.decodeBytes([id]) : nothing,
)
const utf8 = new Utf8Tokens(vocabulary)
const compiler = new GrammarCompiler(vocabulary, tokenizer.bos ?? -1, takeComplaints)

interface Text {
  matcher: GrammarMatcher
  memory: MaskMemory
  /** Changes that were applied. */
  applied: number
  /** Places of the text in its UTF-8 (utf8-tokens.ts), at its beginning and after each token. */
  places: string[]
}

const texts = new Map<number, Text>()

const placeOf = ({ places }: Text): string => places.at(-1) ?? BETWEEN_CHARACTERS

async function show(text: Text): Promise<void> {
  const { applied, matcher, memory } = text
  try {
    const mask = await matcher.getNextTokenBitmask()
    utf8.restrict(mask, placeOf(text))
    writeMask(memory, mask, applied)
  } catch {
    // The library cannot find it; the reader is told so.
    writeMask(memory, undefined, applied)
  }
}

/** Applies what has changed in all texts. False where nothing has. */
async function follow(): Promise<boolean> {
  let any = false
  for (const text of texts.values()) {
    const changes = readChanges(text.memory, text.applied)
    if (changes.length === 0) continue
    any = true
    for (const change of changes) apply(text, change)
    text.applied += changes.length
    await show(text)
  }
  return any
}

function apply(text: Text, change: number): void {
  if (change < 0) {
    text.matcher.rollBack(-change)
    text.places.length += change
    return
  }
  text.matcher.acceptToken(change)
  text.places.push(utf8.after(placeOf(text), change))
}

async function open({ grammar, id, memory }: ToGrammarThread & { type: 'open' }): Promise<void> {
  const reply = (message: FromGrammarThread) => {
    port.postMessage(message)
  }
  try {
    const matcher = await compiler.matcher(grammar)
    const text = { matcher, memory, applied: 0, places: [BETWEEN_CHARACTERS] }
    texts.set(id, text)
    await show(text)
    reply({ id })
  } catch (error) {
    reply({ id, error: toErrorMessage(error) })
  }
}

function close(id: number): void {
  texts.get(id)?.matcher.dispose()
  texts.delete(id)
}

const hasChanges = (): boolean =>
  [...texts.values()].some(({ applied, memory }) => readChanges(memory, applied).length > 0)

/** Milliseconds between looks for changes while texts change; less than a step of a small model takes. */
const LOOK_INTERVAL_MS = 0.05
/** Milliseconds without a change after which the thread sleeps. */
const AWAKE_MS = 20

/** Takes messages and changes in turn. The event loop of the thread runs only while a grammar is compiled. */
async function run(): Promise<never> {
  let changedAt = -Infinity
  for (;;) {
    const woken = timesWoken(wakeup)
    const received = receiveMessageOnPort(port) as { message: ToGrammarThread } | undefined
    if (received?.message.type === 'open') await open(received.message)
    else if (received) close(received.message.id)
    else if (await follow()) changedAt = performance.now()
    else if (performance.now() - changedAt < AWAKE_MS) doze(wakeup, woken, LOOK_INTERVAL_MS)
    else sleep(wakeup, woken, hasChanges)
  }
}

// The thread lives on while it waits for the library.
port.ref()
void run()
