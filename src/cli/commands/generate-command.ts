/** `basin generate`: completes one prompt in the terminal, and shows the answer while it settles. */
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import picocolors from 'picocolors'
import { fromErrorMessage } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { Of } from '../../generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../../generation/settled-answers.js'
import type { ReasoningEffort } from '../../refine/presets.js'
import { requestFrom } from '../../server/requests/request-settings.js'
import { integer, real } from '../options/number-parsers.js'
import { shippedModels } from '../package.js'
import { Screen } from '../output/screen.js'
import { sparkline } from '../output/sparkline.js'
import { openModel } from '../open-models.js'
import {
  engineOption,
  refinerOption,
  threadsOption,
  weightsOption,
} from '../options/engine-options.js'

interface GenerateFlags {
  model: string
  template?: string
  maxTokens: number
  temperature?: number
  seed?: number
  steps?: number
  effort?: ReasoningEffort
  candidates: number
  engine: string
  threads: number
  weights: string
  refiner: string
}

/** The user's own machine needs no tight limits; these are the largest values that an answer can have. */
const caps = { maxSteps: 2 ** 31 - 1, maxSeconds: 86_400, candidates: 64 }
const SPARKLINE_WIDTH = 32

const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

export function registerGenerate(program: Command): void {
  program
    .command('generate')
    .description(
      'complete a prompt and show how its energy falls; Ctrl-C ends with the best answer so far',
    )
    .argument('[prompt]', 'text to complete', '')
    .option('--model <directory>', 'directory of the model', join(shippedModels, 'stories'))
    .option('--template <text>', 'the answer with its unknown characters left blank, as a puzzle')
    .option('--max-tokens <n>', 'largest number of tokens', integer(1, 2 ** 31 - 1), 64)
    .option(
      '--temperature <x>',
      "0 takes the most probable token always (default: the model's own)",
      real(0, 2),
    )
    .option('--seed <n>', 'the same seed gives the same text', integer(0, 2 ** 53 - 1))
    .option(
      '--steps <n>',
      'largest number of descent steps of an answer',
      integer(0, caps.maxSteps),
    )
    .addOption(new Option('--effort <name>', 'a preset of the step budget').choices(efforts))
    .option('--candidates <n>', 'starting points of an answer', integer(1, caps.candidates), 1)
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(refinerOption())
    .action(generate)
}

async function generate(prompt: string, flags: GenerateFlags): Promise<void> {
  const model = await openModel(flags.model, {
    engine: flags.engine,
    threads: flags.threads,
    weights: flags.weights,
    refiner: flags.refiner,
    slots: flags.candidates,
    maxQueue: 1,
    prefillChunk: 256,
    holdSeconds: 0,
    pauseSeconds: 0,
    watchdogSeconds: 0,
  })
  try {
    await complete(model, prompt, flags)
  } finally {
    await model.close()
  }
}

async function complete(model: EngineClient, prompt: string, flags: GenerateFlags): Promise<void> {
  const { candidates, effort, maxTokens, seed, steps, temperature, template } = flags
  const settings = {
    max_tokens: maxTokens,
    temperature: temperature ?? null,
    seed: seed ?? null,
    reasoning_effort: effort ?? null,
    template: template ?? null,
    refinement: { candidates, ...(steps !== undefined && { max_steps: steps }) },
  }
  const stream = model.submit({
    ...requestFrom(settings, model.model, caps),
    prompt,
    client: 'terminal',
    reportSteps: true,
    hold: false,
  })
  process.once('SIGINT', () => {
    stream.control({ type: 'finish' })
  })
  const view = process.stdout.isTTY ? new LiveView(prompt) : new PlainView()
  const account = new EnergyAccount()
  for await (const event of stream.events) {
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
    }
  }
}

/** Keeps the energies of the current answer, and the mean over all answers at each step. */
class EnergyAccount {
  private current: number[] = []
  private answers = 0
  /** Summed over the settled answers. */
  private initial = 0
  private final = 0
  private seconds = 0
  /** Sum and number of the energies at each step. */
  private readonly curve: { sum: number; count: number }[] = []

  /** Adds a step; returns the energies of the current answer's first candidate so far. */
  step({ candidate, energy, step }: Of<'step'>): readonly number[] {
    if (candidate !== 0) return this.current
    this.current.push(energy)
    const point = (this.curve[step - 1] ??= { sum: 0, count: 0 })
    point.sum += energy
    point.count++
    return this.current
  }

  settle({ energy, seconds }: SettledAnswer): void {
    this.current = []
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
    const mean = this.answers > 1 ? ` (mean of ${this.answers} answers)` : ''
    return (
      `${sparkline(means, SPARKLINE_WIDTH)} energy ${energies}${mean}, ` +
      `${refinement.steps} steps, ${usage.completionTokens} tokens, ` +
      `${this.seconds.toFixed(2)} s, ${refinement.stop_reason}`
    )
  }
}

interface View {
  step: (event: Of<'step'>, energies: readonly number[]) => void
  commit: (event: SettledAnswer) => void
  close: () => void
}

/** Shows the answer while it changes, and a curve of its energy below. */
class LiveView implements View {
  private readonly screen = new Screen(process.stdout)

  constructor(prompt: string) {
    this.screen.append(prompt)
  }

  step({ bestEnergy, step, text }: Of<'step'>, energies: readonly number[]): void {
    const curve = picocolors.cyan(sparkline(energies, SPARKLINE_WIDTH))
    const status = picocolors.dim(`step ${step}, energy ${bestEnergy.toPrecision(3)}`)
    this.screen.draw(text, `${curve} ${status}`)
  }

  commit({ text }: SettledAnswer): void {
    this.screen.append(text)
  }

  close(): void {
    this.screen.close()
  }
}

/** Writes the text alone, each answer when it has settled: for pipes and files. */
class PlainView implements View {
  step(): void {
    // Only text that does not change any more is written.
  }

  commit({ text }: SettledAnswer): void {
    process.stdout.write(text)
  }

  close(): void {
    process.stdout.write('\n')
  }
}
