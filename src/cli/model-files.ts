/** Which files of a model a browser needs to compute with it. */
import { weightsFile } from '../model/checkpoint.js'
import { readDescriptor } from '../tokenizer/descriptor.js'
import { fileBeside, runsInBrowsers } from '../tokenizer/fetched-tokenizer.js'

export const modelFileSwitches = ['on', 'off'] as const

/** Their names in the model's directory; undefined for a model whose tokenizer browsers cannot run. */
export function browserFiles(directory: string): readonly string[] | undefined {
  const { descriptor } = readDescriptor(directory)
  if (!runsInBrowsers(descriptor)) return undefined
  const beside = fileBeside(descriptor)
  const own = ['config.json', 'tokenizer.json', weightsFile]
  return beside === undefined ? own : [...own, beside]
}
