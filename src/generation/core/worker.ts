/**
 * The entry of a worker thread: opens the model that its data name and runs the engine for the thread that
 * started it. Knows files and the engine's name, which nothing else of this folder does.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { openEngine } from '../../energy/open-engine.js'
import { BasinError, toErrorMessage } from '../../errors.js'
import { hasChatTemplate } from '../../tokenizer/chat-template.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import type { FromWorker, WorkerData } from '../protocol.js'
import { EngineCore } from './engine-core.js'
import { MessageLoop } from './message-loop.js'
import { yieldToServer } from './priority.js'

if (!parentPort) throw new Error('worker.js runs in a worker thread')
const port = parentPort
const { interrupt, reportAck, ...options } = workerData as WorkerData
const send = (message: FromWorker) => {
  port.postMessage(message)
}

yieldToServer()
try {
  const tokenizer = openTokenizer(options.modelPath)
  const engine = await openEngine({
    directory: options.modelPath,
    engine: options.engine,
    threads: options.threads,
    ...(options.weights !== undefined && { weights: options.weights }),
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
  const core = new EngineCore(engine, tokenizer, { ...options, sharePrefixes, interrupt })
  const close = () => engine.close()
  new MessageLoop(port, core, { reportAck, interrupt, close })
  send({
    type: 'ready',
    model: engine.model,
    engine: engine.info,
    capacity: engine.capacity,
    memory: engine.memory(),
    chat: hasChatTemplate(options.modelPath),
  })
} catch (error) {
  send({ type: 'fatal', error: toErrorMessage(error) })
  port.close()
}
