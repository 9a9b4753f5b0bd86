/**
 * The entry of a thread that compiles the grammars of requests and finds the masks of their tokens, beside the
 * engine: what a stranger's grammar costs, no other request waits for. The next mask is found as soon as a
 * token is known, while the engine descends to the answer that needs it.
 */
import { format } from 'node:util'
import { parentPort, workerData } from 'node:worker_threads'
import type { GrammarMatcher } from '@mlc-ai/web-xgrammar'
import { toErrorMessage } from '../../errors.js'
import { openTokenizer } from '../tokenizer.js'
import type { FromGrammarThread, GrammarThreadData, ToGrammarThread } from './grammar-messages.js'
import { type MaskMemory, writeMask } from './mask-memory.js'
import { GrammarCompiler } from './xgrammar.js'

if (!parentPort) throw new Error('grammar-thread.js runs in a worker thread')
const port = parentPort
const { directory, tokens } = workerData as GrammarThreadData

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
const compiler = new GrammarCompiler(vocabulary, tokenizer.bos ?? -1, takeComplaints)

interface Text {
  matcher: GrammarMatcher
  memory: MaskMemory
  changes: number
}

const texts = new Map<number, Text>()

async function show({ changes, matcher, memory }: Text): Promise<void> {
  try {
    writeMask(memory, await matcher.getNextTokenBitmask(), changes)
  } catch {
    // The library cannot find it; the reader is told so.
    writeMask(memory, undefined, changes)
  }
}

async function change({
  id,
  ...message
}: Exclude<ToGrammarThread, { type: 'open' }>): Promise<void> {
  const text = texts.get(id)
  if (!text) return
  if (message.type === 'close') {
    texts.delete(id)
    text.matcher.dispose()
    return
  }
  if (message.type === 'rewind') text.matcher.rollBack(message.count)
  else for (const token of message.tokens) text.matcher.acceptToken(token)
  text.changes++
  await show(text)
}

async function open({ grammar, id, memory }: ToGrammarThread & { type: 'open' }): Promise<void> {
  const reply = (message: FromGrammarThread) => {
    port.postMessage(message)
  }
  try {
    const text = { matcher: await compiler.matcher(grammar), memory, changes: 0 }
    texts.set(id, text)
    await show(text)
    reply({ id })
  } catch (error) {
    reply({ id, error: toErrorMessage(error) })
  }
}

/** Messages are handled in their order, each when the one before it is done. */
let handled = Promise.resolve()
port.on('message', (message: ToGrammarThread) => {
  handled = handled.then(() => (message.type === 'open' ? open(message) : change(message)))
})
