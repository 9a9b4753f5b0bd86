#!/usr/bin/env node
/**
 * `basin`: registers the verbs, each of which is one file in commands/. Errors are printed here, in one
 * line; the stack is printed as well if BASIN_DEBUG is set.
 */
import { Command } from 'commander'
import { registerChat } from './commands/chat-command.js'
import { registerEvaluate } from './commands/evaluate-command.js'
import { registerConfig } from './commands/config-command.js'
import { registerConvert } from './commands/convert-command.js'
import { registerExport } from './commands/export-command.js'
import { registerGenerate } from './commands/generate-command.js'
import { registerInspect } from './commands/inspect-command.js'
import { registerLandscape } from './commands/landscape-command.js'
import { registerKeys } from './commands/keys-command.js'
import { registerList } from './commands/list-command.js'
import { registerPull } from './commands/pull-command.js'
import { registerServe } from './commands/serve-command.js'
import { registerTasks } from './commands/tasks-command.js'
import { registerTokenizer } from './commands/tokenizer-command.js'
import { registerTrain } from './commands/train-command.js'
import { registerWatch } from './commands/watch-command.js'
import { version } from '../library/package.js'

const program = new Command('basin')
  .description('Language models that find their answers by gradient descent on an energy')
  .version(version)

for (const register of [
  registerServe,
  registerKeys,
  registerConfig,
  registerGenerate,
  registerWatch,
  registerChat,
  registerList,
  registerTrain,
  registerEvaluate,
  registerLandscape,
  registerTokenizer,
  registerTasks,
  registerPull,
  registerConvert,
  registerExport,
  registerInspect,
]) {
  register(program)
}

try {
  await program.parseAsync()
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  console.error(`basin: ${message.replaceAll('\n', ' ')}`)
  if (process.env['BASIN_DEBUG']) console.error(error)
  process.exitCode = 1
}
