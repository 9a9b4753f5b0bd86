/** `basin watch`: an answer of a running server, drawn while it settles, as `basin generate` draws one. */
import type { Command } from 'commander'
import { connect, servedModel, shapeOf, socketAnswer } from '../answers/served-answer.js'
import {
  addAnswerOptions,
  answerFields,
  type AnswerFlags,
  keyOption,
} from '../options/answer-options.js'
import { drawAnswer, onTerminal, termLines } from '../output/answer-view.js'

type WatchFlags = AnswerFlags & { model?: string; key?: string }

export function registerWatch(program: Command): void {
  const command = program
    .command('watch')
    .description(
      'ask a running server, and watch the energy fall; Ctrl-C takes the best so far. A model of puzzles fills its own example unless there is a --template',
    )
    .argument('[url]', 'of the server', 'http://127.0.0.1:8000')
    .argument('[prompt]', 'text to complete', '')
    .option('--model <name>', "of the server's models (default: its default model)")
    .addOption(keyOption())
    .action(watch)
  addAnswerOptions(command)
}

async function watch(url: string, prompt: string, flags: WatchFlags): Promise<void> {
  const client = connect(url, flags.key)
  const model = await servedModel(client, flags.model)
  const { energy_target: target, template: templates } = model.capabilities
  const example = templates?.length == null ? undefined : (templates.example ?? undefined)
  const template = flags.template ?? example
  const asked = {
    ...answerFields(flags, target ?? undefined, onTerminal()),
    ...(template !== undefined && { template }),
    model: model.id,
    prompt,
  }
  const answer = socketAnswer(client, asked)
  const drawing = { prompt, shape: shapeOf(model), slow: flags.slow }
  const { end, summary } = await drawAnswer(answer, {
    ...drawing,
    ...(template !== undefined && { template }),
  })
  console.error(summary)
  for (const line of end ? termLines(end) : []) console.error(line)
}
