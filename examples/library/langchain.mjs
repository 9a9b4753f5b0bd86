// LangChain: `npm install @langchain/openai @langchain/core`, then `node langchain.mjs [url]`.
import { ChatOpenAI } from '@langchain/openai'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'
const model = new ChatOpenAI({
  model: 'stories',
  apiKey: 'none needed',
  maxTokens: 16,
  configuration: { baseURL: `${url}/v1` },
})
const { content } = await model.invoke('Once upon a time')
console.log(content)
