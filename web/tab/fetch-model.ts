/** Fetches the files of a model: its configuration, its tokenizer and its weights. */
import type { ModelConfig } from '../../src/model/config.js'
import type { Tokenizer } from '../../src/tokenizer/assemble.js'
import type { TokenizerDescriptor } from '../../src/tokenizer/descriptor.js'
import { fileBeside, tokenizerFrom } from '../../src/tokenizer/fetched-tokenizer.js'
import type { ModelFiles } from './protocol.js'

export interface FetchedFiles {
  config: ModelConfig
  tokenizer: Tokenizer
  weights: ArrayBuffer
}

/** `progress`: called with the bytes of the weights that have come, and with all of them, 0 if unknown. */
export async function fetchModel(
  { authorization, folder, name }: ModelFiles,
  progress: (done: number, total: number) => void,
): Promise<FetchedFiles> {
  const headers = authorization === '' ? {} : { authorization }
  const get = async (file: string): Promise<Response> => {
    const reply = await fetch(new URL(file, folder), { headers })
    if (reply.ok) return reply
    throw new Error(`${file} of ${name} cannot be fetched: status ${reply.status}`)
  }
  const config = (await (await get('config.json')).json()) as ModelConfig
  const descriptor = (await (await get('tokenizer.json')).json()) as TokenizerDescriptor
  const file = fileBeside(descriptor)
  const beside = file === undefined ? '' : await (await get(file)).text()
  const tokenizer = tokenizerFrom(descriptor, beside)
  return { config, tokenizer, weights: await bytesOf(await get('model.safetensors'), progress) }
}

async function bytesOf(
  reply: Response,
  progress: (done: number, total: number) => void,
): Promise<ArrayBuffer> {
  const total = Number(reply.headers.get('content-length') ?? 0)
  const parts: Uint8Array<ArrayBuffer>[] = []
  let done = 0
  const reader = reply.body?.getReader()
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    parts.push(part.value)
    done += part.value.length
    progress(done, total)
  }
  return await new Blob(parts).arrayBuffer()
}
