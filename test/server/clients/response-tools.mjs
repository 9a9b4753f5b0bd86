// The newest clients call tools of the model `tools` by the Responses API of the address in the first argument.
import { createOpenAI } from '@ai-sdk/openai'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import OpenAI from 'openai'

const baseURL = `${process.argv[2]}/v1`
const client = new OpenAI({ baseURL, apiKey: 'none' })
const parameters = {
  type: 'object',
  properties: {
    city: { enum: ['Oslo', 'Lima'] },
    days: { type: 'integer', minimum: 1, maximum: 9 },
  },
  required: ['city', 'days'],
  additionalProperties: false,
}
const offer = (name) => ({ type: 'function', name, parameters, strict: true })
const asked = {
  model: 'tools',
  input: 'How warm will it be?',
  tools: [offer('weather'), offer('tides')],
  max_output_tokens: 200,
  seed: 1,
}

const required = await client.responses.create({ ...asked, tool_choice: 'required' })
const tides = { ...asked, tool_choice: { type: 'function', name: 'tides' } }
const named = await client.responses.create(tides)
const streamed = await client.responses.stream(tides).finalResponse()

// The model decides to call, twice, after some text: rules hold it to that.
const call = (city) =>
  `<tool_call>\n{"name": "weather", "arguments": {"city": "${city}", "days": 2}}\n</tool_call>`
const free = { ...asked, guided_choice: [`Let me see.\n${call('Oslo')}\n${call('Lima')}`] }
const several = await client.responses.create(free)
const events = []
for await (const event of await client.responses.create({ ...free, stream: true }))
  events.push(event)

const made = several.output.filter(({ type }) => type === 'function_call')
const results = made.map(({ call_id }) => ({
  type: 'function_call_output',
  call_id,
  output: '12 degrees',
}))
const short = { ...asked, max_output_tokens: 8 }
// What was called comes from the stored response, or from its items, sent back.
const further = await client.responses.create({
  ...short,
  previous_response_id: several.id,
  input: results,
})
const again = await client.responses.create({
  ...short,
  input: [{ role: 'user', content: asked.input }, ...several.output, ...results],
})
const items = []
for await (const item of client.responses.inputItems.list(again.id, { order: 'asc' }))
  items.push(item)

const refusalOf = (body) =>
  client.responses
    .create({ ...asked, ...body })
    .catch(({ status, param, code, message }) => ({ status, param, code, message }))
const refused = [
  await refusalOf({ model: 'letters', input: 'a' }),
  await refusalOf({ tools: [{ type: 'web_search' }] }),
  await refusalOf({ tool_choice: { type: 'function', name: 'x' } }),
  await refusalOf({ model: 'letters', tools: [], input: results }),
  await refusalOf({ include: ['message.output_text.logprobs'] }),
]

const executed = []
const weather = tool({
  description: 'of a city',
  inputSchema: jsonSchema(parameters),
  execute: (input) => {
    executed.push(input)
    return '12 degrees'
  },
})
const provider = createOpenAI({ baseURL, apiKey: 'none' })
const calling = {
  model: provider('tools'),
  prompt: 'How warm will it be?',
  toolChoice: { type: 'tool', toolName: 'weather' },
  maxOutputTokens: 200,
  tools: { weather },
}
const sdk = await generateText({ ...calling, stopWhen: stepCountIs(2) })
const parts = []
for await (const part of streamText(calling).fullStream) parts.push(part.type)

const chain = await new ChatOpenAI({
  apiKey: 'none',
  configuration: { baseURL },
  model: 'tools',
  maxTokens: 200,
  useResponsesApi: true,
  // In this mode it does not pass on the tool_choice of bindTools.
  modelKwargs: { tool_choice: 'required' },
})
  .bindTools([
    { type: 'function', function: { name: 'weather', description: 'of a city', parameters } },
  ])
  .invoke('How warm will it be?')

console.log(
  JSON.stringify({
    required,
    named,
    streamed,
    several,
    events,
    further: { text: further.output_text, tokens: further.usage.input_tokens },
    again: { text: again.output_text, tokens: again.usage.input_tokens },
    before: several.usage.input_tokens,
    items: items.map(({ type }) => type),
    refused,
    executed,
    sdk: {
      steps: sdk.steps.map(({ toolCalls }) =>
        toolCalls.map(({ toolName, input }) => ({ toolName, input })),
      ),
    },
    parts,
    chain: chain.tool_calls,
  }),
)
