/** `basin inspect`: the sizes of a model, and the cost of one of its steps on this machine. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { stepCost } from '../../energy/cost.js'
import type { EnergyEngine } from '../../energy/engine.js'
import { openEngine } from '../../energy/open-engine.js'
import { parameterCount, tensorShapes, weightsFile } from '../../model/checkpoint.js'
import { contextCaches, landscapeOf, readConfig, type ModelConfig } from '../../model/config.js'
import { openTokenizer } from '../../tokenizer/tokenizer.js'
import { integer } from '../options/number-parsers.js'
import { pagesPerContext } from '../../energy/pages.js'
import {
  cacheTypeOption,
  engineOption,
  threadsOption,
  weightsOption,
} from '../options/engine-options.js'

interface InspectFlags {
  engine: string
  threads: number
  weights: string
  cacheType: string
  context: number
  measure: boolean
  json?: boolean
}

const FLOAT_BYTES = 4

const WARM_UP_STEPS = 2
const TIMED_STEPS = 7

export function registerInspect(program: Command): void {
  program
    .command('inspect')
    .description("print a model's shapes, sizes and parameters, and the cost of a step here")
    .argument('<model>', "the model's directory")
    .option('--context <n>', 'number of tokens before the answer', integer(1, 1_048_576), 128)
    .option('--no-measure', 'only count; do not start an engine to measure times')
    .option('--json', 'print JSON')
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(cacheTypeOption())
    .action(inspect)
}

async function inspect(directory: string, flags: InspectFlags): Promise<void> {
  const config = readConfig(directory)
  const context = Math.min(flags.context, config.context_length - config.answer.block)
  const counted = count(directory, config, context)
  const measured = flags.measure ? await measure(directory, config, context, flags) : undefined
  const facts = { config, ...counted, ...(measured && { measured }) }
  console.log(flags.json === true ? JSON.stringify(facts, null, 2) : page(directory, facts))
}

/** Tensors of the same name and shape in all layers. */
interface TensorGroup {
  /** `{i}` stands for the number of the layer. */
  name: string
  shape: readonly number[]
  /** How many tensors there are. */
  times: number
}

interface Counted {
  parameters: number
  fileBytes: number
  tokens: number
  tensors: TensorGroup[]
  step: { context: number; weightBytes: number; cacheBytes: number; flops: number }
  cacheBytesPerToken: number
}

function count(directory: string, config: ModelConfig, context: number): Counted {
  const { cache, flops, weights } = stepCost(config, context)
  return {
    parameters: parameterCount(config),
    fileBytes: statSync(join(directory, weightsFile)).size,
    tokens: openTokenizer(directory).vocabSize,
    tensors: groups(config),
    step: {
      context,
      weightBytes: weights * FLOAT_BYTES,
      cacheBytes: cache * FLOAT_BYTES,
      flops,
    },
    // Keys and values of every layer; one set per landscape if the context depends on the landscape.
    cacheBytesPerToken: contextCaches(config) * config.layers * 2 * config.dim * FLOAT_BYTES,
  }
}

function groups(config: ModelConfig): TensorGroup[] {
  const found = new Map<string, TensorGroup>()
  for (const [tensor, shape] of tensorShapes(config)) {
    const name = tensor.replace(/layers\.\d+\./, 'layers.{i}.')
    found.set(name, { name, shape, times: (found.get(name)?.times ?? 0) + 1 })
  }
  return [...found.values()]
}

interface Measured {
  engine: string
  threads: number
  /** Median of TIMED_STEPS steps of a single answer. */
  stepSeconds: number
  /** Time to observe all tokens of the context at once. */
  observeSeconds: number
  memoryBytes: number
}

async function measure(
  directory: string,
  config: ModelConfig,
  context: number,
  { cacheType, engine: engineName, threads, weights }: InspectFlags,
): Promise<Measured> {
  const pages = pagesPerContext(config) + 1
  const engine = await openEngine({
    directory,
    engine: engineName,
    threads,
    weights,
    cacheType,
    slots: 1,
    contexts: 1,
    pages,
  })
  try {
    const started = performance.now()
    const tokens = new Array<number>(context).fill(0)
    await engine.observe([
      { contextId: 0, tokens, pages: Array.from({ length: pages }, (_, i) => i) },
    ])
    const observeSeconds = (performance.now() - started) / 1000
    await engine.begin([{ slot: 0, contextId: 0, seed: 0, candidate: 0 }])
    const seconds: number[] = []
    for (let step = 0; step < WARM_UP_STEPS + TIMED_STEPS; step++)
      seconds.push(await timed(engine, step))
    const { backend, name } = engine.info
    return {
      engine: `${name} on ${backend}`,
      threads: engine.info.threads,
      stepSeconds: seconds.slice(WARM_UP_STEPS).sort((a, b) => a - b)[
        Math.floor(TIMED_STEPS / 2)
      ] as number,
      observeSeconds,
      memoryBytes: engine.memory(),
    }
  } finally {
    await engine.close()
  }
}

async function timed(engine: EnergyEngine, step: number): Promise<number> {
  const started = performance.now()
  await engine.descend([{ slot: 0, landscape: landscapeOf(engine.model, step), noise: 0, step }])
  return (performance.now() - started) / 1000
}

const megabytes = (bytes: number): string =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
const duration = (seconds: number): string =>
  seconds < 1 ? `${(seconds * 1000).toPrecision(3)} ms` : `${seconds.toPrecision(3)} s`

function page(
  directory: string,
  facts: Counted & { config: ModelConfig; measured?: Measured },
): string {
  const { cacheBytesPerToken, config, fileBytes, measured, parameters, step, tensors } = facts
  const { answer, conditioning, energy, landscapes } = config
  const width = Math.max(...tensors.map(({ name }) => name.length))
  const rows = tensors.map(({ name, shape, times }) => {
    const each = shape.reduce((a, b) => a * b, 1) * times
    const repeated = times > 1 ? ` x ${times}` : ''
    return `  ${name.padEnd(width)}  [${shape.join(', ')}]${repeated}  ${each.toLocaleString('en')}`
  })
  return [
    `${config.name} in ${directory}: ${config.description}`,
    `${parameters.toLocaleString('en')} parameters, ${megabytes(fileBytes)}: ${config.layers} layers, width ${config.dim}, ${config.heads} heads, FFN ${config.ffn_dim}`,
    `vocabulary ${config.vocab_size} (the tokenizer has ${facts.tokens}), context ${config.context_length}`,
    `${answer.space} space, ${answer.block} position${answer.block > 1 ? 's' : ''} per answer from ${answer.start}; ${energy.kind} energy`,
    `conditioning ${conditioning}, ${landscapes} landscape${landscapes > 1 ? 's' : ''}, trained for ${config.steps} steps`,
    '',
    ...rows,
    '',
    `context cache: ${megabytes(cacheBytesPerToken)} per token, ${megabytes(cacheBytesPerToken * config.context_length)} for a full context`,
    `a step after ${step.context} tokens: reads ${megabytes(step.weightBytes)} of weights (shared by a batch) and ${megabytes(step.cacheBytes)} of cache, ${(step.flops / 1e6).toFixed(1)} MFLOP`,
    ...(measured
      ? [
          `on this machine, ${measured.engine}, ${measured.threads} thread${measured.threads > 1 ? 's' : ''}: ${duration(measured.stepSeconds)} a step (median of ${TIMED_STEPS}, one answer), ${duration(measured.observeSeconds)} for its context`,
          `${duration(measured.stepSeconds * config.steps)} per answer of ${config.steps} steps; the engine holds ${megabytes(measured.memoryBytes)}`,
        ]
      : []),
  ].join('\n')
}
