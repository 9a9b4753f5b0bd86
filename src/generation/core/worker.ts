/**
 * The entry of a worker thread: opens the model that its data name and runs the engine for the thread that
 * started it. Knows files and the engine's name, which nothing else of this folder does.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { openEngine } from '../../energy/open-engine.js'
import { pagesPerContext } from '../../energy/pages.js'
import { BasinError, toErrorMessage } from '../../errors.js'
import { readConfig } from '../../model/config.js'
import { chatAbility, openChatTemplate } from '../../tokenizer/chat-template.js'
import { TokenMasks } from '../../tokenizer/grammar/token-masks.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import type { FromWorker, WorkerData } from '../protocol.js'
import { EngineCore } from './engine-core.js'
import { MessageLoop } from './message-loop.js'
import { yieldToServer } from './priority.js'
import type { OpenedModel } from './terms/term-model.js'
import { TermModels } from './terms/term-models.js'

if (!parentPort) throw new Error('worker.js runs in a worker thread')
const port = parentPort
const { interrupt, reportAck, ...options } = workerData as WorkerData
/** Answers of another model that are evaluated together: more are hardly faster, and take memory. */
const TERM_SLOTS = 16
const send = (message: FromWorker) => {
  port.postMessage(message)
}

/** An engine of the same kind for a model whose energy is a term. */
async function openTermModel(directory: string): Promise<OpenedModel> {
  const slots = Math.min(options.slots, TERM_SLOTS)
  const engine = await openEngine({
    directory,
    engine: options.engine,
    threads: options.threads,
    ...(options.weights !== undefined && { weights: options.weights }),
    ...(options.cacheType !== undefined && { cacheType: options.cacheType }),
    slots,
    contexts: slots,
    pages: slots * pagesPerContext(readConfig(directory)),
  })
  return { engine, tokenizer: openTokenizer(directory) }
}

yieldToServer()
try {
  const tokenizer = openTokenizer(options.modelPath)
  const engine = await openEngine({
    directory: options.modelPath,
    engine: options.engine,
    threads: options.threads,
    ...(options.weights !== undefined && { weights: options.weights }),
    ...(options.cacheType !== undefined && { cacheType: options.cacheType }),
    ...(options.refiner !== undefined && { refiner: options.refiner }),
    slots: options.slots,
    // Requests that have lost their slots to others keep their contexts as long as there are enough.
    contexts: 2 * options.slots,
    pages: options.pages,
  })
  if (tokenizer.vocabSize > engine.model.vocab_size) {
    throw new BasinError('invalid_tokenizer', {
      path: options.modelPath,
      reason: `it has ${tokenizer.vocabSize} tokens, the model ${engine.model.vocab_size}`,
    })
  }
  const sharePrefixes = options.prefixSharing !== 'off'
  const termModels = new TermModels(openTermModel, tokenizer, engine.model.vocab_size)
  const core = new EngineCore(engine, tokenizer, {
    ...options,
    sharePrefixes,
    interrupt,
    termModels,
  })
  const masks =
    tokenizer.bos === undefined
      ? undefined
      : new TokenMasks({ directory: options.modelPath, tokens: engine.model.vocab_size })
  const close = async () => {
    await masks?.close()
    await termModels.close()
    await engine.close()
  }
  new MessageLoop(port, core, { masks, termModels, reportAck, interrupt, close })
  // A template that is none is refused here, although texts are rendered in another thread.
  openChatTemplate(options.modelPath, tokenizer)
  send({
    type: 'ready',
    model: engine.model,
    engine: engine.info,
    capacity: engine.capacity,
    memory: engine.memory(),
    identity: engine.identity,
    ...chatAbility(options.modelPath),
  })
} catch (error) {
  send({ type: 'fatal', error: toErrorMessage(error) })
  port.close()
}
