// OpenAI's client against the address in its first argument. Prints what it got as JSON.
import OpenAI from 'openai'

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none' })
const puzzle = ['.4....', '..6..1', '.5..2.', '..45..', '..1..6', '3.....'].join('\n')

const messages = [
  { role: 'developer', content: 'Tell a story.' },
  { role: 'user', content: [{ type: 'text', text: 'Once upon a time' }] },
]
const asked = { model: 'stories', max_completion_tokens: 12, seed: 1 }

const models = []
for await (const { id, capabilities } of client.models.list()) models.push([id, capabilities.chat])

const chat = await client.chat.completions.create({
  ...asked,
  messages,
  response_format: { type: 'text' },
  store: true,
  metadata: { of: 'a test' },
  service_tier: 'auto',
  safety_identifier: 'someone',
  prompt_cache_key: 'stories',
  verbosity: 'low',
  modalities: ['text'],
  parallel_tool_calls: false,
  reasoning_effort: 'low',
})

let streamed = ''
const stream = await client.chat.completions.create({
  ...asked,
  messages,
  reasoning_effort: 'low',
  stream: true,
  stream_options: { include_usage: true },
})
for await (const chunk of stream) streamed += chunk.choices[0]?.delta.content ?? ''

const further = await client.chat.completions.create({
  ...asked,
  messages: [...messages, chat.choices[0].message, { role: 'user', content: 'The end' }],
})

const boards = {}
for (const model of ['sudoku6', 'sudoku6-exact']) {
  const board = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content: puzzle }],
  })
  boards[model] = board.choices[0].message.content
}

const schema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 12 }, age: { type: 'integer', maximum: 30 } },
  required: ['name', 'age'],
  additionalProperties: false,
}
const structured = await client.chat.completions.parse({
  ...asked,
  messages,
  max_completion_tokens: 60,
  response_format: { type: 'json_schema', json_schema: { name: 'animal', strict: true, schema } },
})

const completion = await client.completions.create({
  model: 'stories',
  prompt: 'Once',
  max_tokens: 8,
})
const wrong = await client.completions
  .create({ model: 'sudoku6', prompt: puzzle })
  .catch(({ status, param, message }) => ({ status, param, message }))

const first = await client.responses.create({
  model: 'stories',
  instructions: 'Tell a story.',
  input: 'Once upon a time',
  max_output_tokens: 8,
  background_options: { completion_window: 'soonest' },
  prompt_cache_key: 'stories',
  text: { format: { type: 'text' }, verbosity: 'low' },
})
const second = await client.responses.create({
  model: 'stories',
  previous_response_id: first.id,
  input: [{ role: 'user', content: [{ type: 'input_text', text: 'The end' }] }],
  max_output_tokens: 8,
})
const response = await client.responses.create({ model: 'sudoku6', input: puzzle })
const types = []
const events = await client.responses.create({
  model: 'stories',
  input: 'Once',
  max_output_tokens: 4,
  stream: true,
})
for await (const event of events) types.push(event.type)

console.log(
  JSON.stringify({
    models,
    chat: chat.choices[0].message.content,
    streamed,
    further: further.choices[0].message.content,
    boards,
    object: JSON.parse(structured.choices[0].message.content),
    completion: completion.choices[0].text,
    wrong,
    responses: [first.output_text, second.output_text],
    board: response.output_text,
    types,
  }),
)
