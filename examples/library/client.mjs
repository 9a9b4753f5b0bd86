// A running server (`npx basin serve`) through the typed client: `node client.mjs [url]`.
import { BasinClient } from 'basin-ebt/client'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'
const basin = new BasinClient({ url })
const models = await basin.models()
console.log(models.map(({ id }) => id).join(', '))

const request = { model: 'stories', prompt: 'Once upon a time', max_tokens: 16, seed: 1 }
for await (const { choices } of basin.streamCompletion(request))
  process.stdout.write(choices[0]?.text ?? '')
process.stdout.write('\n')

// A stored response: where the connection breaks, the client goes on after the last event it has.
const events = basin.streamResponse({
  model: 'stories',
  input: 'The dog',
  max_output_tokens: 16,
  seed: 1,
})
for await (const event of events)
  if (event.type === 'response.output_text.delta') process.stdout.write(event.delta)
process.stdout.write('\n')
