// OpenAI's own client: `npm install openai`, then `node openai.mjs [url]`.
import OpenAI from 'openai'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none needed' })
const stream = await client.chat.completions.create({
  model: 'stories',
  messages: [{ role: 'user', content: 'Once upon a time' }],
  max_tokens: 16,
  stream: true,
})
for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? '')
process.stdout.write('\n')
