/**
 * What does it cost to hold a text to a structure, and is it always kept? Starts the real server and asks for
 * completions of the same length: free ones that are drawn from all logits too, ones that must match an
 * expression which allows everything, and the JSON of a schema. Prints the time of a token of each, by
 * the clock and of the processor, and how many of the JSON texts match their schema.
 */
import { readConfig } from '../src/model/config.js'
import { join } from 'node:path'
import Schema from 'typebox/schema'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median } from './machine.js'
import { readMetrics, shippedModels, startServer } from './server.js'

const NAME = 'structure'
const flags = readFlags(NAME, 'Measures texts that must match a grammar, and checks them.', {
  models: { default: shippedModels, help: 'directory of the models' },
  model: { default: 'stories', help: 'name of a model of text' },
  draws: { default: '1000', help: 'JSON texts to draw and check' },
  rounds: { default: '40', help: 'completions of each kind that are timed, in turns' },
  threads: { default: '1', help: 'threads of the engine' },
})
const { model, models, threads } = flags
const draws = numberOf(NAME, 'draws', flags.draws, 1)
const rounds = numberOf(NAME, 'rounds', flags.rounds, 2)
/** Unlike the clock, it depends little on what else the machine does. */
const CPU = 'basin_process_cpu_seconds_total'
/** Of a timed completion. */
const TOKENS = 100

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', maxLength: 24 },
    age: { type: 'integer', minimum: 1, maximum: 120 },
    happy: { type: 'boolean' },
    friends: { type: 'array', items: { type: 'string', maxLength: 12 }, maxItems: 3 },
    home: {
      anyOf: [
        { type: 'null' },
        {
          type: 'object',
          properties: { place: { enum: ['house', 'tree', 'sea'] }, rooms: { type: 'number' } },
          required: ['place'],
          additionalProperties: false,
        },
      ],
    },
  },
  required: ['name', 'age', 'happy', 'friends', 'home'],
  additionalProperties: false,
}

const { stop, url } = await startServer({ models, model, threads, 'log-level': 'warn' })

interface Reply {
  choices: { text: string; finish_reason: string }[]
  usage: { completion_tokens: number }
}

async function complete(body: object): Promise<Reply> {
  const reply = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, prompt: 'Once upon a time', ...body }),
  })
  if (reply.status !== 200) throw new Error(await reply.text())
  return (await reply.json()) as Reply
}

/** A presence penalty of next to nothing: the token is drawn from all logits, as with a mask. */
const kinds: Record<string, object> = {
  'drawn in the engine': {},
  'drawn from all logits': { presence_penalty: 1e-9 },
  'any text, masked': { guided_regex: '[^\\x00]{0,4000}' },
  'a JSON text': {
    guided_json: { type: 'array', items: { type: 'string', minLength: 20, maxLength: 60 } },
  },
}

/** Milliseconds of each token, and those of the processor for it, of all threads of the server. */
async function timed(body: object, seed: number): Promise<[number, number]> {
  const before = (await readMetrics(url))(CPU)
  const began = performance.now()
  const { usage } = await complete({ ...body, max_tokens: TOKENS, seed })
  const passed = performance.now() - began
  const after = (await readMetrics(url))(CPU)
  return [passed / usage.completion_tokens, (1e3 * (after - before)) / usage.completion_tokens]
}

/** How many of them match the schema; a text that was cut off does not. */
async function valid(count: number): Promise<number> {
  let matching = 0
  for (let from = 0; from < count; from += 50) {
    const n = Math.min(50, count - from)
    const asked = { guided_json: schema, max_tokens: 200, temperature: 1, seed: from, n }
    const { choices } = await complete(asked)
    for (const { finish_reason: reason, text } of choices) {
      if (reason === 'stop' && Schema.Check(schema, JSON.parse(text))) matching++
      else console.log(`does not match (${reason}): ${text}`)
    }
  }
  return matching
}

const { steps, vocab_size } = readConfig(join(models, model))
console.log(describeMachine(measureMachine()))
console.log(
  `model ${model}: ${vocab_size} tokens, ${steps} steps a token; ${threads} engine thread(s)`,
)
for (const body of Object.values(kinds)) await timed(body, 0)
const times = Object.keys(kinds).map((kind) => ({
  kind,
  all: [] as number[],
  cpu: [] as number[],
}))
for (let round = 1; round <= rounds; round++) {
  for (const { all, cpu, kind } of times) {
    const [whole, computed] = await timed(kinds[kind] ?? {}, round)
    all.push(whole)
    cpu.push(computed)
  }
}
for (const { all, cpu, kind } of times) {
  console.log(
    `${kind.padEnd(22)} ${(1e3 * median(all)).toFixed(0)} us a token, ` +
      `${(1e3 * median(cpu)).toFixed(0)} us of the processor`,
  )
}
const began = performance.now()
const matching = await valid(draws)
const seconds = (performance.now() - began) / 1000
console.log(`${matching} of ${draws} JSON texts match their schema (${seconds.toFixed(0)} s)`)
stop()
process.exitCode = matching === draws ? 0 : 1
