/**
 * The entry of a thread that turns texts to tokens and back, apart from the engine's, which therefore waits
 * for no text. Its data names the model; piscina calls the default export for each task.
 */
import { workerData } from 'node:worker_threads'
import { BasinError, toErrorMessage } from '../../errors.js'
import { openChatTemplate } from '../../tokenizer/chat-template.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import type { TextReply, TextTask } from '../protocol.js'
import { yieldToEngine } from './priority.js'

yieldToEngine()
const { modelPath } = workerData as { modelPath: string }
const tokenizer = openTokenizer(modelPath)
const chat = openChatTemplate(modelPath, tokenizer)

function answer(task: TextTask): TextReply {
  switch (task.type) {
    case 'encode':
      return { tokens: Int32Array.from(tokenizer.encode(task.text, { param: task.param })) }
    case 'decode':
      return { text: tokenizer.decode(task.tokens) }
    case 'chat': {
      if (chat) return { tokens: Int32Array.from(chat.encode(task.messages, task.tools)) }
      const reason = 'this model has no chat template'
      throw new BasinError('not_supported', { param: 'messages', reason })
    }
  }
}

/** Errors are data here, so that they keep their code on the way. */
export default function run(task: TextTask): TextReply {
  try {
    return answer(task)
  } catch (error) {
    return { error: toErrorMessage(error) }
  }
}
