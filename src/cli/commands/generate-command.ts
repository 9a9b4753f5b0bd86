/** `basin generate`: one completion, watched while it settles. */
import type { Command } from 'commander'
import { BasinError } from '../../errors.js'
import { placeTermModels } from '../../server/requests/energy-terms.js'
import type { NewRequest } from '../../server/requests/request-service.js'
import { requestFrom } from '../../server/requests/request-settings.js'
import { type Keep, localAnswer } from '../answers/local-answer.js'
import { openLocalModel, type LocalModelFlags, localModelOptions } from '../answers/local-model.js'
import { readAnswer, writeAnswer } from '../answers/saved-answer.js'
import { addAnswerOptions, answerFields, type AnswerFlags } from '../options/answer-options.js'
import { drawAnswer, onTerminal, termLines } from '../output/answer-view.js'

type GenerateFlags = AnswerFlags &
  LocalModelFlags & { model: string; save?: string; resume?: string }

/** What may stand beside `--resume`: how the answer is computed, shown and kept. */
const besideResume: ReadonlySet<string> = new Set([
  'resume',
  'save',
  'slow',
  'model',
  ...localModelOptions().map((option) => option.attributeName()),
])

/** Descents at a time where they begin anew. */
const DESCENTS = 8

export function registerGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('complete a prompt here, and watch the energy fall; Ctrl-C takes the best so far')
    .argument('[prompt]', 'text to complete', '')
    .option('--model <model>', 'the name of a model in --models, or its directory', 'stories')
    .option(
      '--save <file>',
      'Ctrl-C writes the answer in descent to this file, to go on with later, and takes nothing yet',
    )
    .option(
      '--resume <file>',
      'go on with an answer that --save has written, or with a state of a server that you trust',
    )
    .action(generate)
  addAnswerOptions(command)
  for (const option of localModelOptions()) command.addOption(option)
}

const mayRestart = ({ effort, restarts }: GenerateFlags): boolean =>
  restarts !== undefined || effort === 'high' || effort === 'xhigh' || effort === 'max'

async function generate(prompt: string, flags: GenerateFlags, command: Command): Promise<void> {
  const resumed = flags.resume === undefined ? undefined : readAnswer(flags.resume)
  if (resumed) refuseBeside(prompt, command)
  const named = command.getOptionValueSource('model') === 'cli'
  const model = resumed && !named ? resumed.model : flags.model
  const slots = resumed?.request.budget.candidates ?? slotsFor(flags)
  const { bounds, engine, placeOf, shape } = await openLocalModel(model, flags, slots)
  try {
    const asked = answerFields(flags, engine.model.energy_target, onTerminal())
    const wanted: NewRequest = resumed
      ? { ...resumed.request, from: { thought: resumed.thought, repeats: false } }
      : { ...requestFrom(asked, engine.model, bounds), prompt, hold: false, reportSteps: true }
    const request = placeTermModels(wanted, placeOf)
    const before = resumed?.given.text ?? ''
    const { save, slow } = flags
    const keep = save === undefined ? undefined : keeperOf(save, model, request, before)
    const drawing = { prompt: textBefore(request) + before, shape, slow, ...templateOf(request) }
    if (!onTerminal()) process.stdout.write(before)
    const { end, summary } = await drawAnswer(localAnswer(engine, request, keep), drawing)
    console.error(summary)
    for (const line of end ? termLines(end) : []) console.error(line)
  } finally {
    await engine.close()
  }
}

const slotsFor = (flags: GenerateFlags): number =>
  flags.candidates ?? (mayRestart(flags) ? DESCENTS : 1)

/** Throws `invalid_request` for what the file says. */
function refuseBeside(prompt: string, command: Command): void {
  const given = command.options
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .filter((option) => !besideResume.has(option.attributeName()))
    .map(({ long }) => long ?? '')
  const [param] = prompt === '' ? given : ['the prompt', ...given]
  if (param === undefined) return
  const reason = 'the file of --resume has it; leave it out'
  throw new BasinError('invalid_request', { param, reason })
}

/** Writes the answer to a file, without what this process alone needs of the request. */
function keeperOf(path: string, model: string, asked: NewRequest, before: string): Keep {
  const request = { ...asked }
  delete request.from
  return (saved, settled) => {
    writeAnswer(path, saved, { model, request, given: before + settled })
    console.error(
      `the answer is in ${path} after ${saved.steps} steps: basin generate --resume ${path}`,
    )
  }
}

const textBefore = ({ prompt }: NewRequest): string => (typeof prompt === 'string' ? prompt : '')
const templateOf = ({ template }: NewRequest) => (template === undefined ? {} : { template })
