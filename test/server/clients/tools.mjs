// OpenAI's client and the AI SDK call tools of the model `tools` at the address in the first argument.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, jsonSchema, tool } from 'ai'
import OpenAI from 'openai'

const baseURL = `${process.argv[2]}/v1`
const client = new OpenAI({ baseURL, apiKey: 'none' })
const parameters = {
  type: 'object',
  properties: { city: { $ref: '#/$defs/city' }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['city', 'days'],
  additionalProperties: false,
  $defs: { city: { enum: ['Oslo', 'Lima'] } },
}
const offer = (name) => ({ type: 'function', function: { name, parameters } })
const messages = [{ role: 'user', content: 'How warm will it be?' }]
const asked = {
  model: 'tools',
  messages,
  tools: [offer('weather'), offer('tides')],
  max_tokens: 200,
  seed: 1,
}

const required = await client.chat.completions.create({ ...asked, tool_choice: 'required' })
const named = await client.chat.completions.create({
  ...asked,
  tool_choice: { type: 'function', function: { name: 'tides' } },
})

const streamed = await client.chat.completions
  .stream({ ...asked, tool_choice: { type: 'function', function: { name: 'tides' } } })
  .finalChatCompletion()

// The model decides to call, twice, after some text: rules hold it to that.
const call = (city) =>
  `<tool_call>\n{"name": "weather", "arguments": {"city": "${city}", "days": 2}}\n</tool_call>`
const free = { ...asked, guided_choice: [`Let me see.\n${call('Oslo')}\n${call('Lima')}`] }
const several = await client.chat.completions.create(free)
const chunks = []
for await (const chunk of await client.chat.completions.create({ ...free, stream: true }))
  chunks.push(...chunk.choices)

const [made] = several.choices[0].message.tool_calls
const further = await client.chat.completions.create({
  ...asked,
  max_tokens: 8,
  messages: [
    ...messages,
    several.choices[0].message,
    { role: 'tool', tool_call_id: made.id, content: '12 degrees' },
  ],
})
const refused = await client.chat.completions
  .create({ ...asked, model: 'letters', messages: [{ role: 'user', content: 'a' }] })
  .catch(({ status, param, code, message }) => ({ status, param, code, message }))

const provider = createOpenAICompatible({ name: 'basin', baseURL })
const executed = []
const sdk = await generateText({
  model: provider('tools'),
  prompt: 'How warm will it be?',
  toolChoice: { type: 'tool', toolName: 'weather' },
  maxOutputTokens: 200,
  seed: 1,
  tools: {
    weather: tool({
      description: 'of a city',
      inputSchema: jsonSchema(parameters),
      execute: (input) => {
        executed.push(input)
        return '12 degrees'
      },
    }),
  },
})

console.log(
  JSON.stringify({
    required: required.choices[0],
    named: named.choices[0],
    streamed: streamed.choices[0],
    several: several.choices[0],
    chunks,
    further: further.choices[0].message,
    prompts: [several.usage.prompt_tokens, further.usage.prompt_tokens],
    refused,
    executed,
    sdk: {
      finish: sdk.finishReason,
      calls: sdk.toolCalls.map(({ toolName, input }) => ({ toolName, input })),
    },
  }),
)
