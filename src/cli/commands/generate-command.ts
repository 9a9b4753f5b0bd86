/** `basin generate`: one completion, watched while it settles. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Option, type Command } from 'commander'
import picocolors from 'picocolors'
import { fromErrorMessage } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { Of, Refinement, RequestEvent } from '../../generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import { type RestartPolicy, restartPolicies } from '../../refine/budget.js'
import type { ModelConfig } from '../../model/config.js'
import type { ReasoningEffort } from '../../refine/presets.js'
import { placeTermModels } from '../../server/requests/energy-terms.js'
import { requestFrom, type Settings } from '../../server/requests/request-settings.js'
import { type EnergyTerm, LARGEST_TERM_COUNT } from '../../server/schemas/terms-schema.js'
import { brailleCurve } from '../output/braille.js'
import { integer, real } from '../options/number-parsers.js'
import { appendTerms, parseCommit } from '../options/json-options.js'
import { figure, TemplateScreen } from '../output/template-screen.js'
import { shippedModels } from '../../library/package.js'
import { Screen } from '../output/screen.js'
import { sparkline } from '../output/sparkline.js'
import { modelNamed, scanModels } from '../../library/model-folder.js'
import { openEngineClient } from '../../library/open-models.js'
import {
  engineOption,
  refinerOption,
  threadsOption,
  weightsOption,
} from '../options/engine-options.js'

interface GenerateFlags {
  model: string
  models: string
  template?: string
  maxTokens: number
  temperature?: number
  seed?: number
  steps?: number
  effort?: ReasoningEffort
  candidates?: number
  commit?: ReturnType<typeof parseCommit>
  restarts?: RestartPolicy | true
  after?: number
  noise?: number
  noiseSteps?: number
  term?: EnergyTerm[]
  slow?: true
  engine: string
  threads: number
  weights: string
  refiner: string
}

/** Whoever runs this owns the machine: only what an answer can hold is bounded. */
const caps = { maxSteps: 2 ** 31 - 1, maxSeconds: 86_400, candidates: 64 }
/** Descents at a time where they begin anew. */
const DESCENTS = 8
const termCaps = { terms: LARGEST_TERM_COUNT, positions: 1e6, models: 16 }
const SPARKLINE_WIDTH = 16
/** Between two steps on a terminal: long enough to see that something moves, or what. */
const STEP_MS = 30
const SLOW_STEP_MS = 300

const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

export function registerGenerate(program: Command): void {
  program
    .command('generate')
    .description('complete a prompt here, and watch the energy fall; Ctrl-C takes the best so far')
    .argument('[prompt]', 'text to complete', '')
    .option('--model <model>', 'the name of a model in --models, or its directory', 'stories')
    .addOption(
      new Option('--models <directory>', 'directory of the model directories')
        .env('BASIN_MODELS')
        .default(shippedModels, 'the shipped models'),
    )
    .option('--template <text>', 'known text of the answer with blanks between')
    .option('--max-tokens <n>', 'most tokens', integer(1, 2 ** 31 - 1), 64)
    .option(
      '--temperature <x>',
      "0: always the most probable token (default: the model's own)",
      real(0, 2),
    )
    .option('--seed <n>', 'the same seed gives the same text', integer(0, 2 ** 53 - 1))
    .option(
      '--steps <n>',
      'largest number of descent steps of an answer',
      integer(0, caps.maxSteps),
    )
    .addOption(new Option('--effort <name>', 'a preset of the step budget').choices(efforts))
    .option(
      '--candidates <n>',
      'starting points of an answer, or descents at a time (default: 1, or 8 with restarts)',
      integer(1, caps.candidates),
    )
    .addOption(
      new Option(
        '--restarts [policy]',
        'descents that are over give way to new ones, until one reaches the energy target of the model; --steps counts those of all (default: mixed)',
      ).choices(restartPolicies),
    )
    .option(
      '--after <n>',
      "steps of a descent, with --restarts (default: the model's trained number)",
      integer(1, caps.maxSteps),
    )
    .option(
      '--commit <json>',
      'positions that become certain while the others go on, as refinement.commit of a request: {"share":0.25}',
      parseCommit,
    )
    .option('--noise <x>', 'standard deviation of the noise of each step', real(0, 1000))
    .option('--noise-steps <n>', 'noise in the first so many steps only', integer(0, caps.maxSteps))
    .option(
      '--term <json>',
      'a term to add to the energy, or a list of them, as energy_terms of a request (repeatable)',
      appendTerms,
    )
    .option('--slow', 'shows a few steps a second, on a terminal')
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(refinerOption())
    .action(generate)
}

/** What `serve --model` finds, or else a directory. */
function directoryOf({ model, models }: Pick<GenerateFlags, 'model' | 'models'>): string {
  if (existsSync(join(model, 'config.json'))) return model
  return modelNamed(model, scanModels(models), models).directory
}

async function generate(prompt: string, flags: GenerateFlags): Promise<void> {
  const generation = await openEngineClient(directoryOf(flags), {
    engine: flags.engine,
    threads: flags.threads,
    weights: flags.weights,
    refiner: flags.refiner,
    slots: flags.candidates ?? (mayRestart(flags) ? DESCENTS : 1),
    maxQueue: 1,
    prefillChunk: 256,
    holdSeconds: 0,
    pauseSeconds: 0,
    watchdogSeconds: 0,
  })
  try {
    await watch(generation, prompt, flags)
  } finally {
    await generation.close()
  }
}

const mayRestart = ({ effort, restarts }: GenerateFlags): boolean =>
  restarts !== undefined || effort === 'high' || effort === 'xhigh' || effort === 'max'

/** Restarts end at the energy target of the model, whatever the effort. */
function refinementOf(
  { after, candidates, commit, noise, noiseSteps, restarts, steps }: GenerateFlags,
  { energy_target: target }: ModelConfig,
): NonNullable<Settings['refinement']> {
  const policy = restarts === true ? undefined : restarts
  return {
    ...(candidates !== undefined && { candidates }),
    ...(steps !== undefined && { max_steps: steps }),
    ...(noise !== undefined && { noise }),
    ...(noiseSteps !== undefined && { noise_steps: noiseSteps }),
    ...(commit && { commit }),
    ...(restarts !== undefined && {
      restarts: { ...(after !== undefined && { after }), ...(policy && { policy }) },
      ...(target !== undefined && { energy_target: target }),
    }),
  }
}

async function watch(
  generation: EngineClient,
  prompt: string,
  flags: GenerateFlags,
): Promise<void> {
  const { effort, maxTokens, seed, temperature, template, term } = flags
  const drawn = process.stdout.isTTY && template !== undefined
  const asked = {
    ...(drawn && { logprobs: 1 }),
    max_tokens: maxTokens,
    temperature: temperature ?? null,
    seed: seed ?? null,
    reasoning_effort: effort ?? null,
    template: template ?? null,
    refinement: refinementOf(flags, generation.model),
    ...(term && { energy_terms: term }),
  }
  const bounds = { caps: { ...caps, candidates: generation.capacity.slots }, terms: termCaps }
  const request = {
    ...requestFrom(asked, generation.model, bounds),
    prompt,
    client: 'terminal',
    reportSteps: true,
    hold: false,
  }
  const run = generation.submit(
    placeTermModels(request, (model) => directoryOf({ model, models: flags.models })),
  )
  const pace = { hurried: false }
  process.once('SIGINT', () => {
    pace.hurried = true
    run.control({ type: 'finish' })
  })
  const view = viewOf(prompt, template, generation)
  const account = new Account()
  const milliseconds = flags.slow ? SLOW_STEP_MS : template === undefined ? 0 : STEP_MS
  for await (const event of allOf(run.events)) {
    const wait = process.stdout.isTTY && !pace.hurried && event.type === 'step'
    if (wait && milliseconds > 0) await setTimeout(milliseconds)
    if (event.type === 'failed') {
      view.close()
      throw fromErrorMessage(event.error)
    }
    if (event.type === 'step') view.step(event, account.step(event))
    for (const answer of settledAnswers(event)) {
      account.settle(answer)
      view.commit(answer)
    }
    if (event.type === 'finished') {
      view.close()
      console.error(account.summary(event))
      for (const line of termLines(event.refinement)) console.error(line)
    }
  }
}

/** Every event, however slowly they are taken: a reader that falls behind would miss steps. */
async function* allOf(events: AsyncIterable<RequestEvent>): AsyncGenerator<RequestEvent> {
  const nobody: () => void = () => undefined
  const state = { waiting: [] as RequestEvent[], ended: false, wake: nobody }
  const read = async (): Promise<void> => {
    for await (const event of events) {
      state.waiting.push(event)
      state.wake()
    }
  }
  const reading = read().finally(() => {
    state.ended = true
    state.wake()
  })
  for (;;) {
    const event = state.waiting.shift()
    if (event) yield event
    else if (state.ended) break
    else
      await new Promise<void>((resolve) => {
        state.wake = resolve
      })
  }
  await reading
}

function viewOf(prompt: string, template: string | undefined, { model }: EngineClient): View {
  if (!process.stdout.isTTY) return new PlainView()
  if (template === undefined) return new LiveView(prompt)
  const { blank, layout } = model.template ?? { blank: '_', layout: undefined }
  return new TemplateView(new TemplateScreen(process.stdout, template, blank, layout))
}

/** Energies of the present answer, and of all answers by step. */
class Account {
  private present: number[] = []
  private answers = 0
  /** Summed over the settled answers. */
  private initial = 0
  private final = 0
  private seconds = 0
  /** Sum and number of energies at each step. */
  private readonly curve: { sum: number; count: number }[] = []

  /** The present answer's energies so far, of its first candidate. */
  step({ candidate, energy, step }: Of<'step'>): readonly number[] {
    if (candidate !== 0) return this.present
    this.present.push(energy)
    const point = (this.curve[step - 1] ??= { sum: 0, count: 0 })
    point.sum += energy
    point.count++
    return this.present
  }

  settle({ energy, seconds }: SettledAnswer): void {
    this.present = []
    this.answers++
    this.initial += energy.initial
    this.final += energy.final
    this.seconds += seconds
  }

  summary({ refinement, usage }: Of<'finished'>): string {
    const means = this.curve.flatMap(({ count, sum }) => (count > 0 ? [sum / count] : []))
    const energies = [this.initial, this.final]
      .map((sum) => (sum / Math.max(1, this.answers)).toPrecision(3))
      .join(' → ')
    const mean = this.answers > 1 ? ` (mean of ${this.answers})` : ''
    return (
      `${sparkline(means, SPARKLINE_WIDTH)} energy ${energies}${mean}, ` +
      `${refinement.steps} steps, ${restartsOf(refinement)}${usage.completionTokens} tokens, ` +
      `${this.seconds.toFixed(2)} s, ${refinement.stop_reason}`
    )
  }
}

const restartsOf = ({ restarts = 0 }: Of<'finished'>['refinement']): string =>
  restarts > 0 ? `${restarts} restarts, ` : ''
/** One line for each term: its type, its value, and whether the answer satisfies it. */
const termLines = ({ terms = [] }: Refinement): string[] =>
  terms.map(
    ({ satisfied, type, value }) =>
      `${satisfied ? picocolors.green('satisfied') : picocolors.red('unsatisfied')} ${type} ${figure(value)}`,
  )

interface View {
  step: (event: Of<'step'>, energies: readonly number[]) => void
  commit: (event: SettledAnswer) => void
  close: () => void
}

/** The answer as it changes, with its energy beneath. */
class LiveView implements View {
  private readonly screen = new Screen(process.stdout)
  /** Of every step so far. */
  private readonly energies: number[] = []

  constructor(prompt: string) {
    this.screen.append(prompt)
  }

  step({ energy, step, text }: Of<'step'>, energies: readonly number[]): void {
    this.energies.push(energy)
    const recent = this.energies.slice(-2 * SPARKLINE_WIDTH)
    const [curve = ''] = brailleCurve(recent, SPARKLINE_WIDTH, 1)
    const first = energies[0] ?? energy
    const status = `step ${step}, energy ${figure(first)} → ${figure(energy)}`
    this.screen.draw(text, `${picocolors.cyan(curve)} ${picocolors.dim(status)}`)
  }

  commit({ text }: SettledAnswer): void {
    this.screen.append(text)
  }

  close(): void {
    this.screen.close()
  }
}

/** A whole answer, drawn as what it is. */
class TemplateView implements View {
  constructor(private readonly screen: TemplateScreen) {
    screen.draw(undefined, [])
  }

  step(
    { bestEnergy, candidate, energy, positions, step, text }: Of<'step'>,
    energies: readonly number[],
  ): void {
    if (candidate !== 0) return
    const shown = { step, energy, best: bestEnergy, text, ...(positions && { positions }) }
    this.screen.draw(shown, energies)
  }

  commit(): void {
    // What settled is on the screen.
  }

  close(): void {
    // It stays there.
  }
}

/** The text alone, as it becomes certain. */
class PlainView implements View {
  step(): void {
    // What may still change does not go into a file.
  }

  commit({ text }: SettledAnswer): void {
    process.stdout.write(text)
  }

  close(): void {
    process.stdout.write('\n')
  }
}
