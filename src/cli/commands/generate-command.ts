/** `basin generate`: one completion, watched while it settles. */
import type { Command } from 'commander'
import { requestFrom } from '../../server/requests/request-settings.js'
import { localAnswer } from '../answers/local-answer.js'
import { openLocalModel, type LocalModelFlags, localModelOptions } from '../answers/local-model.js'
import { addAnswerOptions, answerFields, type AnswerFlags } from '../options/answer-options.js'
import { drawAnswer, onTerminal, termLines } from '../output/answer-view.js'

type GenerateFlags = AnswerFlags & LocalModelFlags & { model: string }

/** Descents at a time where they begin anew. */
const DESCENTS = 8

export function registerGenerate(program: Command): void {
  const command = program
    .command('generate')
    .description('complete a prompt here, and watch the energy fall; Ctrl-C takes the best so far')
    .argument('[prompt]', 'text to complete', '')
    .option('--model <model>', 'the name of a model in --models, or its directory', 'stories')
    .action(generate)
  addAnswerOptions(command)
  for (const option of localModelOptions()) command.addOption(option)
}

const mayRestart = ({ effort, restarts }: GenerateFlags): boolean =>
  restarts !== undefined || effort === 'high' || effort === 'xhigh' || effort === 'max'

async function generate(prompt: string, flags: GenerateFlags): Promise<void> {
  const slots = flags.candidates ?? (mayRestart(flags) ? DESCENTS : 1)
  const { bounds, engine, shape } = await openLocalModel(flags.model, flags, slots)
  try {
    const asked = answerFields(flags, engine.model.energy_target, onTerminal())
    const request = { ...requestFrom(asked, engine.model, bounds), prompt }
    const { template, slow } = flags
    const drawing = { prompt, shape, slow, ...(template !== undefined && { template }) }
    const { end, summary } = await drawAnswer(localAnswer(engine, request), drawing)
    console.error(summary)
    for (const line of end ? termLines(end) : []) console.error(line)
  } finally {
    await engine.close()
  }
}
