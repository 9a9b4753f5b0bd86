// LangChain's ChatOpenAI against the address in its first argument.
import { ChatOpenAI } from '@langchain/openai'

const configuration = { baseURL: `${process.argv[2]}/v1` }
const open = (fields) => new ChatOpenAI({ apiKey: 'none', configuration, ...fields })

const stories = open({ model: 'stories', maxTokens: 12, modelKwargs: { seed: 1 } })
const messages = [
  ['system', 'Tell a story.'],
  ['human', 'Once upon a time'],
]
const chat = await stories.invoke(messages)
let streamed = ''
for await (const chunk of await stories.stream(messages)) streamed += chunk.text
const schema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', maximum: 30 } },
  required: ['name', 'age'],
  additionalProperties: false,
}
const object = await open({ model: 'stories', maxTokens: 60 })
  .withStructuredOutput({ title: 'animal', ...schema }, { method: 'jsonSchema', strict: true })
  .invoke(messages)
const responses = await open({ model: 'stories', maxTokens: 12, useResponsesApi: true }).invoke(
  messages,
)
const board = await open({ model: 'sudoku6' }).invoke('_4______6__1_5__2___45____1__63_____')

console.log(
  JSON.stringify({
    chat: chat.text,
    usage: chat.usage_metadata,
    streamed,
    object,
    responses: responses.text,
    board: board.text,
  }),
)
