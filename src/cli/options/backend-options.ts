/** Options of the verbs that compute with TensorFlow.js: train, evaluate and landscape. */
import { Option } from 'commander'
import { backendChoices } from '../../energy/tfjs/backend.js'
import { trainDefaults } from '../../library/training-run.js'
import { integer, integerList, shareRange } from './number-parsers.js'

/** Help of `--data` and `--valid`. */
export const DATA_HELP = 'text files, or one file of JSON lines {prompt?, template?, completion}'

export const backendOption = () =>
  new Option('--backend <name>', 'TensorFlow.js backend').choices(backendChoices).default('auto')

export const backendThreadsOption = () =>
  new Option('--threads <n>', 'threads of the native and wasm backends')
    .argParser(integer(1, 1024))
    .default(1)

export const budgetsOption = (description: string): Option =>
  new Option('--budgets <list>', description)
    .argParser(integerList)
    .default(trainDefaults.budgets, trainDefaults.budgets.join())

export const givenOption = (): Option =>
  new Option(
    '--given <shares>',
    'give a share of each block, drawn from a range such as 0-0.9, and infer the rest; of JSON lines in training every second one, besides what its template gives',
  ).argParser(shareRange)
