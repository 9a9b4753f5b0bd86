// The AI SDK with its provider for compatible servers, against the address in its first argument.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, jsonSchema, Output, streamText } from 'ai'

const provider = createOpenAICompatible({
  name: 'basin',
  baseURL: `${process.argv[2]}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
})

const asked = {
  model: provider('stories'),
  system: 'Tell a story.',
  prompt: 'Once upon a time',
  maxOutputTokens: 12,
  seed: 1,
}
const chat = await generateText(asked)
let streamed = ''
for await (const part of streamText(asked).textStream) streamed += part
const schema = jsonSchema({
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', maximum: 30 } },
  required: ['name', 'age'],
  additionalProperties: false,
})
const structured = await generateText({
  ...asked,
  maxOutputTokens: 60,
  output: Output.object({ schema }),
})
const completion = await generateText({
  model: provider.completionModel('stories'),
  prompt: 'Once upon a time',
  maxOutputTokens: 8,
})
const board = await generateText({
  model: provider('sudoku6'),
  prompt: '_4______6__1_5__2___45____1__63_____',
})

console.log(
  JSON.stringify({
    chat: chat.text,
    finish: chat.finishReason,
    usage: chat.usage,
    streamed,
    object: structured.output,
    completion: completion.text,
    board: board.text,
  }),
)
