#!/usr/bin/env node
/** `basin`: one verb per file. The composition root: here, and nowhere below, errors end the process. */
import { Command } from 'commander'
import { registerEvaluate } from './evaluate.js'
import { registerConfig } from './config.js'
import { registerConvert } from './convert.js'
import { registerExport } from './export.js'
import { registerGenerate } from './generate.js'
import { registerInspect } from './inspect.js'
import { registerLandscape } from './landscape.js'
import { registerKeys } from './keys.js'
import { registerList } from './list.js'
import { registerServe } from './serve.js'
import { registerTasks } from './tasks.js'
import { registerTokenizer } from './tokenize.js'
import { registerTrain } from './train.js'
import { version } from './package.js'

const program = new Command('basin')
  .description('Language models that find their answers by descent on an energy')
  .version(version)

for (const register of [
  registerServe,
  registerKeys,
  registerConfig,
  registerGenerate,
  registerList,
  registerTrain,
  registerEvaluate,
  registerLandscape,
  registerTokenizer,
  registerTasks,
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
