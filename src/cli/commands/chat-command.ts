/** `basin chat`: a conversation at the terminal, with a model in this process or with a server's. */
import { type Command } from 'commander'
import picocolors from 'picocolors'
import { BasinClientError } from '../../client/index.js'
import { BasinError } from '../../errors.js'
import {
  type ChatPartner,
  type ChatSettings,
  type ChatTurn,
  localPartner,
  servedPartner,
} from '../answers/chat-partner.js'
import { type LocalModelFlags, localModelOptions, openLocalModel } from '../answers/local-model.js'
import { connect } from '../answers/served-answer.js'
import {
  effortOption,
  efforts,
  keyOption,
  seedOption,
  temperatureOption,
} from '../options/answer-options.js'
import { integer } from '../options/number-parsers.js'
import { drawAnswer, onTerminal } from '../output/answer-view.js'
import { typedLines } from '../output/typed-lines.js'

interface ChatFlags extends LocalModelFlags, ChatSettings {
  model?: string
  key?: string
  system?: string
}

/** Candidates at a time: efforts from high on search with several descents. */
const SLOTS = 8

export function registerChat(program: Command): void {
  const command = program
    .command('chat')
    .description(
      'talk to a model; Ctrl-C ends an answer, and at the prompt the program. /help lists what else there is',
    )
    .argument('[model]', 'a directory, a name in --models, or the URL of a server', 'stories')
    .option('--model <name>', "of the server's models (default: its default model)")
    .addOption(keyOption())
    .option('--system <text>', 'stands before the conversation')
    .addOption(effortOption())
    .addOption(seedOption())
    .addOption(temperatureOption())
    .option('--max-tokens <n>', 'most tokens of an answer', integer(1, 2 ** 31 - 1))
    .action(chat)
  for (const option of localModelOptions()) command.addOption(option)
}

async function chat(target: string, flags: ChatFlags): Promise<void> {
  const partner = /^https?:\/\//.test(target)
    ? await servedPartner(connect(target, flags.key), flags.model)
    : localPartner(await openLocalModel(target, flags, SLOTS))
  try {
    await new ChatSession(partner, flags).run()
  } finally {
    await partner.close()
  }
}

const HELP = `/effort NAME   how long answers descend: ${efforts.join(', ')}; without NAME as the model does
/seed N        the same seed gives the same answer; without N a random one for each
/system TEXT   stands before the conversation; without TEXT nothing does
/reset         forget the conversation
/quit          end, as Ctrl-D does`

class ChatSession {
  private turns: ChatTurn[] = []
  private system: string | undefined
  private readonly settings: ChatSettings

  constructor(
    private readonly partner: ChatPartner,
    { effort, maxTokens, seed, system, temperature }: ChatFlags,
  ) {
    this.system = system
    this.settings = { effort, maxTokens, seed, temperature }
  }

  async run(): Promise<void> {
    const { name, shape } = this.partner
    if (process.stdin.isTTY) {
      const kind =
        shape?.length === undefined
          ? 'it goes on from what you write'
          : `it fills templates of ${shape.length} positions, with ${shape.blank} for blanks`
      console.error(picocolors.dim(`${name}: ${kind}. /help for help`))
    }
    for await (const line of typedLines('> ')) {
      const [, command, rest = ''] = /^\/(\S+)\s*(.*)$/.exec(line) ?? []
      if (command === 'quit') return
      if (command !== undefined) this.obey(command, rest)
      else if (line.trim() !== '') await this.answer(line)
    }
  }

  private obey(command: string, text: string): void {
    switch (command) {
      case 'effort':
        this.setEffort(text)
        return
      case 'seed':
        this.setSeed(text)
        return
      case 'system':
        this.system = text === '' ? undefined : text
        say(
          text === ''
            ? 'nothing stands before the conversation'
            : 'it stands before the conversation',
        )
        return
      case 'reset':
        this.turns = []
        say('forgotten')
        return
      case 'help':
        say(HELP)
        return
      default:
        say(`there is no /${command}; /help lists what there is`)
    }
  }

  private setEffort(text: string): void {
    const effort = efforts.find((each) => each === text)
    if (text !== '' && !effort) say(`the effort must be one of ${efforts.join(', ')}`)
    else {
      this.settings.effort = effort
      say(`effort: ${effort ?? 'as the model does'}`)
    }
  }

  private setSeed(text: string): void {
    const seed = text === '' ? undefined : Number(text)
    if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0))
      say('the seed must be an integer from 0 up')
    else {
      this.settings.seed = seed
      say(`seed: ${seed ?? 'a random one for each answer'}`)
    }
  }

  /** What is wrong with a message ends neither the program nor the conversation before it. */
  private async answer(line: string): Promise<void> {
    const { partner, settings, system, turns } = this
    const asked: ChatTurn[] = [...turns, { role: 'user', content: line }]
    const whole: ChatTurn[] =
      system === undefined ? asked : [{ role: 'system', content: system }, ...asked]
    try {
      const answer = await partner.ask(whole, settings, onTerminal())
      const template = partner.shape?.length === undefined ? undefined : line
      const { end, summary } = await drawAnswer(answer, {
        shape: partner.shape,
        ...(template !== undefined && { template }),
      })
      if (onTerminal()) console.error(picocolors.dim(summary))
      if (end) this.turns = [...asked, { role: 'assistant', content: end.text }]
    } catch (error) {
      if (!(error instanceof BasinError || error instanceof BasinClientError)) throw error
      const forget =
        error.code === 'context_length_exceeded' ? '; /reset forgets the conversation' : ''
      say(picocolors.red(error.message + forget))
    }
  }
}

/** Beside the answers, which alone go into a pipe. */
const say = (text: string): void => {
  console.error(text)
}
