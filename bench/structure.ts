/**
 * What does it cost to hold a text to a structure, and is it always kept? Starts the real server and asks for
 * completions of the same length: free ones, whose answers are computed several in a call; free ones of one
 * answer in a call, as those with a mask are; ones that must match an expression which allows everything; and the
 * JSON of a schema. Prints the time of a token of each, by the clock, of the processor, and of the processor in
 * the engine's thread (which Linux tells); what the mask costs, in the time of a descent step; and how many JSON
 * texts match their schema, of this model and of an imported one with random weights and a tokenizer of
 * Hugging Face.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Schema from 'typebox/schema'
import { readConfig } from '../src/model/config.js'
import type { Grammar } from '../src/tokenizer/grammar/grammar.js'
import { rulesOfSchema } from '../src/tokenizer/grammar/json-rules.js'
import './addon.js'
import { importModel } from '../test/support/imported-model.js'
import { numberOf, readFlags } from './command.js'
import { describeMachine, measureMachine, median } from './machine.js'
import { maskCost } from './mask-cost.js'
import { readMetrics, shippedModels, startServer } from './server.js'

const NAME = 'structure'
const flags = readFlags(NAME, 'Measures texts that must match a grammar, and checks them.', {
  models: { default: shippedModels, help: 'directory of the models' },
  model: { default: 'stories', help: 'name of a model of text' },
  draws: { default: '1000', help: 'JSON texts to draw and check' },
  rounds: { default: '40', help: 'completions of each kind that are timed, in turns' },
  tokens: { default: '4000', help: 'tokens over which the parts of the mask are timed' },
  threads: { default: '1', help: 'threads of the engine' },
})
const { model, models, threads } = flags
const draws = numberOf(NAME, 'draws', flags.draws, 1)
const rounds = numberOf(NAME, 'rounds', flags.rounds, 2)
/** Unlike the clock, it depends little on what else the machine does. */
const CPU = 'basin_process_cpu_seconds_total'
/** Tokens of a timed completion. */
const TOKENS = 100
const maskedTokens = numberOf(NAME, 'tokens', flags.tokens, 100)

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

const imported = mkdtempSync(join(tmpdir(), 'basin-imported-'))
await importModel(imported, 'imported')
const { pid, stop, url } = await startServer({ models, model, threads, 'log-level': 'warn' })

interface Reply {
  choices: { text: string; finish_reason: string }[]
  usage: { completion_tokens: number }
}

async function complete(body: object, address = url): Promise<Reply> {
  const reply = await fetch(`${address}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'Once upon a time', ...body }),
  })
  if (reply.status !== 200) throw new Error(await reply.text())
  return (await reply.json()) as Reply
}

const ANY = 'any text, masked'
const FREE = 'free, one answer a call'
/** A text that stops nothing, since no answer has it, keeps the engine from computing answers in a row. */
const kinds: Record<string, object> = {
  'free, answers in a row': {},
  [FREE]: { stop: '\u0001' },
  [ANY]: { guided_regex: '[^\\x00]*' },
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
  const { usage } = await complete({ ...body, model, max_tokens: TOKENS, seed })
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

/**
 * Whether all of them match the schema; a text that was cut off does not. `longest`: no text of the schema has more
 * tokens, in this model's vocabulary.
 */
async function valid(
  count: number,
  name: string,
  address: string,
  longest: number,
): Promise<boolean> {
  const began = performance.now()
  let matching = 0
  for (let from = 0; from < count; from += 50) {
    const n = Math.min(50, count - from)
    const asked = { guided_json: schema, max_tokens: longest, temperature: 1, seed: from, n }
    const { choices } = await complete({ ...asked, model: name, prompt: 'Once' }, address)
    for (const { finish_reason: reason, text } of choices) {
      if (reason === 'stop' && Schema.Check(schema, JSON.parse(text))) matching++
      else console.log(`does not match (${reason}): ${text}`)
    }
  }
  const seconds = (performance.now() - began) / 1000
  console.log(`${matching} of ${count} JSON texts of ${name} match (${seconds.toFixed(0)} s)`)
  return matching === count
}

async function reportMaskCost(): Promise<void> {
  const grammars: Record<string, Grammar> = {
    'any text': { type: 'regex', pattern: '[^\\x00]*', param: 'guided_regex' },
    JSON: { type: 'ebnf', rules: rulesOfSchema(schema, 'guided_json'), param: 'guided_json' },
  }
  for (const [kind, grammar] of Object.entries(grammars)) {
    const { draw, step, tell, token, wait } = await maskCost(models, model, grammar, maskedTokens)
    const cost = wait + draw + tell
    console.log(
      `the mask of ${kind}: ${cost.toFixed(1)} us a token (${wait.toFixed(1)} until it is there, ` +
        `${draw.toFixed(1)} to draw by it, ${tell.toFixed(1)} to tell the token), ` +
        `${share(cost, step)} of a step (${step.toFixed(0)} us), ${share(cost, token)} of a token ` +
        `(${token.toFixed(0)} us)`,
    )
  }
}
const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`

const { steps, vocab_size } = readConfig(join(models, model))
console.log(describeMachine(measureMachine()))
console.log(
  `model ${model}: ${vocab_size} tokens, ${steps} steps a token; ${threads} engine thread(s)`,
)
await reportMaskCost()
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
const ofModel = await valid(draws, model, url, 200)
stop()
const other = await startServer({ models: imported, model: 'imported', 'log-level': 'warn' })
const ofImported = await valid(draws, 'imported', other.url, 900)
other.stop()
process.exitCode = ofModel && ofImported ? 0 : 1
