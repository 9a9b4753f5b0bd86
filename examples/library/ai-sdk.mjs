// The AI SDK: `npm install ai @ai-sdk/openai-compatible`, then `node ai-sdk.mjs [url]`.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { streamText } from 'ai'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'
const basin = createOpenAICompatible({ name: 'basin', baseURL: `${url}/v1` })
const { textStream } = streamText({
  model: basin('stories'),
  prompt: 'Once upon a time',
  maxOutputTokens: 16,
})
for await (const text of textStream) process.stdout.write(text)
process.stdout.write('\n')
