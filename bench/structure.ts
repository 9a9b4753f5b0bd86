/**
 * What does it cost to hold a text to a structure, and is it always kept? Starts the real server and asks for
 * completions of the same length: free ones that are drawn from all logits too, ones that must match an
 * expression which allows everything, and the JSON of a schema. Prints the time of a token of each, by
 * the clock, of the processor, and of the processor in the engine's thread (which Linux tells), and how many of
 * the JSON texts match their schema.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'

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

const { pid, stop, url } = await startServer({ models, model, threads, 'log-level': 'warn' })

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

/** Nanoseconds that each thread of the server has had the processor; none where there is no /proc. */
function threadTimes(): Map<string, number> {
  const tasks = `/proc/${pid}/task`
  if (!existsSync(tasks)) return new Map()
  return new Map(
    readdirSync(tasks).map((id) => {
      const [ran = ''] = readFileSync(`${tasks}/${id}/schedstat`, 'utf8').split(' ')
      return [id, Number(ran)]
    }),
  )
}

interface TokenTime {
  /** Milliseconds of a token: on the clock, of the processor in all threads, and in each thread. */
  clock: number
  cpu: number
  threads: Map<string, number>
}

async function timed(body: object, seed: number): Promise<TokenTime> {
  const before = (await readMetrics(url))(CPU)
  const threadsBefore = threadTimes()
  const began = performance.now()
  const { usage } = await complete({ ...body, max_tokens: TOKENS, seed })
  const passed = performance.now() - began
  const ran = [...threadTimes()].map(([id, time]): [string, number] => [
    id,
    (time - (threadsBefore.get(id) ?? 0)) / 1e6 / usage.completion_tokens,
  ])
  const after = (await readMetrics(url))(CPU)
  const tokens = usage.completion_tokens
  return { clock: passed / tokens, cpu: (1e3 * (after - before)) / tokens, threads: new Map(ran) }
}

/** The thread that computes most where nothing is masked. */
const busiest = ({ threads }: TokenTime): string | undefined =>
  [...threads].sort(([, one], [, other]) => other - one)[0]?.[0]

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
const engine = busiest(await timed({}, 0)) ?? ''
const times = Object.entries(kinds).map(([kind, body]) => ({ kind, body, all: [] as TokenTime[] }))
for (let round = 1; round <= rounds; round++)
  for (const { all, body } of times) all.push(await timed(body, round))
const micros = (values: readonly number[]): number => 1e3 * median([...values])
for (const { all, kind } of times) {
  const [clock, cpu, own] = [
    all.map((time) => time.clock),
    all.map((time) => time.cpu),
    all.map(({ threads }) => threads.get(engine) ?? NaN),
  ].map(micros)
  console.log(
    `${kind.padEnd(22)} ${clock?.toFixed(0)} us a token, ${cpu?.toFixed(0)} us of the processor, ` +
      `${own?.toFixed(0)} us of it in the engine's thread`,
  )
}
const began = performance.now()
const matching = await valid(draws)
const seconds = (performance.now() - began) / 1000
console.log(`${matching} of ${draws} JSON texts match their schema (${seconds.toFixed(0)} s)`)
stop()
process.exitCode = matching === draws ? 0 : 1
