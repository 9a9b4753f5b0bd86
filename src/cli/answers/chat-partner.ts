/** Who a conversation at the terminal is with: a model in this process, or one of a server. */
import type { BasinClient } from '../../client/index.js'
import type { ReasoningEffort } from '../../refine/presets.js'
import { conversationPrompt } from '../../server/openai/chat-prompt.js'
import { requestFrom, roomAfter } from '../../server/requests/request-settings.js'
import type { TemplateShape, WatchedAnswer } from './answer-events.js'
import { localAnswer } from './local-answer.js'
import type { LocalModel } from './local-model.js'
import { chatAnswer, servedModel, shapeOf } from './served-answer.js'

export interface ChatTurn {
  role: 'system' | 'user' | 'assistant'
  content: string
}

export interface ChatSettings {
  effort?: ReasoningEffort | undefined
  seed?: number | undefined
  temperature?: number | undefined
  /** Most tokens of an answer; absent: as many as the context has room for. */
  maxTokens?: number | undefined
}

export interface ChatPartner {
  name: string
  shape: TemplateShape | undefined
  /** Rejects with what is wrong with the conversation. `drawn`: the certainty of each position is wanted. */
  ask: (
    turns: readonly ChatTurn[],
    settings: ChatSettings,
    drawn: boolean,
  ) => Promise<WatchedAnswer>
  close: () => Promise<void>
}

const sharedFields = ({ effort, maxTokens, seed, temperature }: ChatSettings) => ({
  ...(effort && { reasoning_effort: effort }),
  ...(maxTokens !== undefined && { max_tokens: maxTokens }),
  ...(seed !== undefined && { seed }),
  ...(temperature !== undefined && { temperature }),
})

export function localPartner({ bounds, engine, shape }: LocalModel): ChatPartner {
  return {
    name: engine.model.name,
    shape,
    ask: async (turns, settings, drawn) => {
      const spoken = turns.map(({ content, role }) => ({ role, text: content }))
      const from = { client: 'terminal', engine }
      const { prompt, template } = await conversationPrompt(spoken, from, 'messages')
      const asked = {
        max_tokens: roomAfter(prompt.length, engine.model),
        ...sharedFields(settings),
        ...(drawn && { logprobs: 1 }),
        ...(template !== undefined && { template }),
      }
      return localAnswer(engine, { ...requestFrom(asked, engine.model, bounds), prompt })
    },
    close: () => engine.close(),
  }
}

export async function servedPartner(
  client: BasinClient,
  name: string | undefined,
): Promise<ChatPartner> {
  const model = await servedModel(client, name)
  return {
    name: model.id,
    shape: shapeOf(model),
    ask: (turns, settings, drawn) =>
      Promise.resolve(
        chatAnswer(client, {
          model: model.id,
          messages: [...turns],
          ...sharedFields(settings),
          ...(drawn && { logprobs: true }),
        }),
      ),
    close: () => Promise.resolve(),
  }
}
