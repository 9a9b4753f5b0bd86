/**
 * The names that clients of other servers (llama.cpp, Ollama, vLLM, Text Generation Inference) use for what this API
 * has under OpenAI's, so that a refusal can say which name is meant.
 */

const paths: Readonly<Record<string, string>> = {
  '/api/chat': '/v1/chat/completions',
  '/api/embed': '/v1/embeddings',
  '/api/embeddings': '/v1/embeddings',
  '/api/generate': '/v1/completions',
  '/api/tags': '/v1/models',
  '/completion': '/v1/completions',
  '/generate': '/v1/completions',
}

/** The path that is meant by one that is not there: another server's, or one with too few or too many /v1. */
export function meantPath(url: string, isThere: (url: string) => boolean): string | undefined {
  const near = [paths[url], `/v1${url}`, url.replace(/^(\/v1)+\//, '/v1/')]
  return near.find((path) => path !== undefined && path !== url && isThere(path))
}

const fields: Readonly<Record<string, string>> = {
  grammar: 'guided_grammar',
  guided_decoding: 'structured_outputs',
  json_schema: 'response_format',
  max_length: 'max_tokens',
  max_new_tokens: 'max_tokens',
  n_predict: 'max_tokens',
  num_predict: 'max_tokens',
  regex: 'guided_regex',
  repeat_penalty: 'repetition_penalty',
  stop_sequences: 'stop',
}

/** The field that is meant by one that no request has. */
export const meantField = (name: string): string | undefined => fields[name]
