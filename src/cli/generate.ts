/** `basin generate`: one completion, watched while it settles. */
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import picocolors from 'picocolors'
import { fromErrorMessage } from '../errors.js'
import type { EngineClient } from '../generation/client/engine-client.js'
import type { Of } from '../generation/protocol.js'
import { type SettledAnswer, settledAnswers } from '../generation/settled-answers.js'
import type { ReasoningEffort } from '../refine/presets.js'
import { jobOf } from '../server/job.js'
import { integer, real } from './numbers.js'
import { shippedModels } from './package.js'
import { Screen } from './screen.js'
import { sparkline } from './sparkline.js'
import { engineOption, openModel, refinerOption, threadsOption, weightsOption } from './worker.js'

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

/** Whoever runs this owns the machine: only what an answer can hold is bounded. */
const caps = { maxSteps: 2 ** 31 - 1, maxSeconds: 86_400, candidates: 64 }
const SPARKLINE_WIDTH = 32

const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

export function registerGenerate(program: Command): void {
  program
    .command('generate')
    .description('complete a prompt here, and watch the energy fall; Ctrl-C takes the best so far')
    .argument('[prompt]', 'text to complete', '')
    .option('--model <directory>', 'model to use', join(shippedModels, 'stories'))
    .option('--template <text>', 'known text of the answer with blanks between')
    .option('--max-tokens <n>', 'most tokens', integer(1, 2 ** 31 - 1), 64)
    .option(
      '--temperature <x>',
      "0: always the most probable token (default: the model's own)",
      real(0, 2),
    )
    .option('--seed <n>', 'the same seed gives the same text', integer(0, 2 ** 53 - 1))
    .option('--steps <n>', 'most descent steps per answer', integer(0, caps.maxSteps))
    .addOption(new Option('--effort <name>', 'a preset of the budget').choices(efforts))
    .option('--candidates <n>', 'starting points per answer', integer(1, caps.candidates), 1)
    .addOption(engineOption())
    .addOption(threadsOption())
    .addOption(weightsOption())
    .addOption(refinerOption())
    .action(generate)
}

async function generate(prompt: string, flags: GenerateFlags): Promise<void> {
  const generation = await openModel(flags.model, {
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
    await watch(generation, prompt, flags)
  } finally {
    await generation.close()
  }
}

async function watch(
  generation: EngineClient,
  prompt: string,
  flags: GenerateFlags,
): Promise<void> {
  const { candidates, effort, maxTokens, seed, steps, temperature, template } = flags
  const asked = {
    max_tokens: maxTokens,
    temperature: temperature ?? null,
    seed: seed ?? null,
    reasoning_effort: effort ?? null,
    template: template ?? null,
    refinement: { candidates, ...(steps !== undefined && { max_steps: steps }) },
  }
  const run = generation.submit({
    ...jobOf(asked, generation.model, caps),
    prompt,
    client: 'terminal',
    reportSteps: true,
    hold: false,
  })
  process.once('SIGINT', () => {
    run.control({ type: 'finish' })
  })
  const view = process.stdout.isTTY ? new LiveView(prompt) : new PlainView()
  const account = new Account()
  for await (const event of run.events) {
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

/** The answer as it changes, with its energy beneath. */
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
