/** The worker thread's entry: opens a model directory, then runs the loop for the thread's owner. */
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { openEngine } from '../../energy/open-engine.js'
import { BasinError, toErrorMessage } from '../../errors.js'
import { openChatTemplate } from '../../tokenizer/chat-template.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { drive } from './message-loop.js'
import { EngineCore } from './engine-core.js'
import type { FromWorker, WorkerData } from '../protocol.js'

if (!parentPort) throw new Error('worker.js runs in a worker thread')
const port = parentPort
const { bell, receipt, ...options } = workerData as WorkerData
const send = (message: FromWorker) => {
  port.postMessage(message)
}

/** A third of the weight of a thread that is not nice, so no other program starves the engine. */
const NICENESS = 5

/**
 * Where cores are scarce, whoever computes gives way to whoever answers: the threads of this worker
 * become nice, the server's does not. Linux only: elsewhere a priority is that of the whole process.
 */
function giveWay(): void {
  if (process.platform !== 'linux') return
  try {
    setPriority(NICENESS)
  } catch {
    // A sandbox may forbid it, and then replies come later under load.
  }
}

giveWay()
try {
  const tokenizer = openTokenizer(options.modelPath)
  const engine = await openEngine({
    directory: options.modelPath,
    engine: options.engine,
    threads: options.threads,
    ...(options.weights !== undefined && { weights: options.weights }),
    ...(options.refiner !== undefined && { refiner: options.refiner }),
    slots: options.slots,
    contexts: options.slots,
    pages: options.pages,
  })
  if (tokenizer.vocabSize > engine.model.vocab_size) {
    throw new BasinError('invalid_tokenizer', {
      path: options.modelPath,
      reason: `it has ${tokenizer.vocabSize} tokens, the model ${engine.model.vocab_size}`,
    })
  }
  const chat = openChatTemplate(options.modelPath, tokenizer)
  const sharePrefixes = options.prefixSharing !== 'off'
  const loop = new EngineCore(engine, tokenizer, { ...options, sharePrefixes, bell })
  drive(port, loop, { chat, tokenizer }, () => engine.close(), receipt, bell)
  send({
    type: 'ready',
    model: engine.model,
    engine: engine.info,
    capacity: engine.capacity,
    memory: engine.memory(),
    chat: chat !== undefined,
  })
} catch (error) {
  send({ type: 'fatal', error: toErrorMessage(error) })
  port.close()
}
