/** What the client sends and is sent, as docs/http.md and docs/socket.md describe it. */

export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max'

/** The exact budget of every answer. Without a field, the effort or the model decides. */
export interface RefinementSettings {
  /** Most steps per answer; null: unbounded, up to the server's cap on seconds. */
  max_steps?: number | null
  min_steps?: number
  max_seconds?: number
  /** Relative change of energy at or below which a step counts as calm. */
  tolerance?: number
  /** Calm steps in a row that mean convergence. */
  patience?: number
  plateau?: number
  gradient_tolerance?: number
  energy_target?: number
  /** Independent starting points of the same answer. */
  candidates?: number
  select?: 'min' | 'max_gap' | 'max'
  allocation?: 'even' | 'adaptive'
  restarts?: {
    after?: number | 'plateau'
    keep?: number
    most?: number | null
    policy?: 'mixed' | 'model' | 'noise' | 'guess' | 'partial' | 'near' | 'population'
  } | null
  commit?: {
    share?: number
    count?: number
    by?: 'entropy'
    draw?: 'most' | 'temperature' | 'sample'
    after?: number
    reopen?: boolean
  } | null
  step_size?: number
  step_size_on?: 'every_landscape' | 'last_landscape'
  noise?: number
  noise_steps?: number
  landscape_steps?: number
  keep?: 'best' | 'last'
  accept_lower?: boolean
  line_search?: boolean
  /** Undo a step that raises the energy by d with probability 1 - exp(-d / this). */
  metropolis?: number
}

/** A text, or the tokens of one. */
export type Text = string | number[]

/** What a text must match. One of these fields, or a format, for each request. */
export interface StructuredOutputs {
  /** A JSON schema, or its text. */
  json?: object | string | boolean
  json_object?: boolean
  /** An expression for the whole text. */
  regex?: string
  /** The text is one of these. */
  choice?: string[]
  /** Rules in the notation of GBNF, from `root` on. */
  grammar?: string
}

interface NamedSchema {
  name: string
  /** A JSON schema; docs/http.md lists the keywords. */
  schema: object | boolean
  description?: string
  strict?: boolean
}

/** What a text is: anything, a JSON object, or JSON of a schema. */
export type ResponseFormat =
  { type: 'text' | 'json_object' } | { type: 'json_schema'; json_schema: NamedSchema }

/** The same, as responses have it. */
export type TextFormat = { type: 'text' | 'json_object' } | ({ type: 'json_schema' } & NamedSchema)

interface Sampling {
  /** Default: the model that the server lists first. */
  model?: string
  temperature?: number
  top_p?: number
  top_k?: number
  /** Tokens less probable than this share of the most probable one are not drawn. */
  min_p?: number
  /** The same seed gives the same answer. */
  seed?: number
  stop?: string | string[]
  logit_bias?: Record<string, number>
  presence_penalty?: number
  frequency_penalty?: number
  /** Divides positive logits of tokens that were seen, multiplies negative ones. */
  repetition_penalty?: number
  guided_json?: object | string | boolean
  guided_regex?: string
  guided_choice?: string[]
  guided_grammar?: string
  structured_outputs?: StructuredOutputs
  reasoning_effort?: Effort
  refinement?: RefinementSettings
  /** Terms that are added to the energy; docs/composition.md lists them. */
  energy_terms?: EnergyTerm[]
}

interface Settings extends Sampling {
  max_tokens?: number
  response_format?: ResponseFormat
}

interface AnswerSettings extends Settings {
  /** Alternatives reported for every token, 0 to 5. */
  logprobs?: number
  /** Known text of the answer with blanks between: only the blanks are inferred. */
  template?: string
}

/** Which fields a type has is in docs/composition.md. */
export interface EnergyTerm {
  type: 'distinct' | 'sum' | 'compare' | 'token' | 'contains' | 'count' | 'similar' | 'model'
  /** Energy for each unit of the term. */
  weight?: number
  /** No answer counts that does not satisfy it. */
  required?: boolean
  /** The largest value that satisfies it. */
  tolerance?: number
  positions?: (number | number[])[]
  equals?: number
  less?: number
  than?: number
  position?: number
  tokens?: string[]
  not?: boolean
  text?: string
  token?: string
  /** Another model of the server, and what it is asked. */
  model?: string
  prompt?: string
}

export interface EnergySummary {
  initial: number
  final: number
  best: number
}

export interface Refinement {
  /** Descent steps, summed over the answers. */
  steps: number
  /** Of the latest answer. */
  energy: EnergySummary
  candidates: number
  converged: boolean
  stop_reason: string
  disagreement?: number
  doubt?: number
  /** Descents that took the place of others, if there were restarts. */
  restarts?: number
  /** In the order of the request's `energy_terms`. */
  terms?: { type: string; value: number; satisfied: boolean }[]
}

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
}

export interface ModelInfo {
  id: string
  object: 'model'
  created: number
  owned_by: string
  description: string
  capabilities: ModelCapabilities
}

/** What a model can do; docs/http.md says more. */
export interface ModelCapabilities {
  context_length: number
  vocab_size: number
  /** Positions that are inferred at once. */
  block: number
  dimensions: number
  chat: 'template' | 'plain'
  /** It can be given tools to call. */
  tools: boolean
  structured_output: boolean
  endpoints: string[]
  max_steps: number
  max_seconds: number
  max_candidates: number
  /** The trained number. */
  steps: number
  energy_target: number | null
  answer_space: string
  energy: string
  start: string
  /** Null: the model has no templates. */
  template: {
    blank: string
    /** Positions that every template must have; null: any. */
    length: number | null
    example: string | null
    layout: TemplateLayout | null
  } | null
}

/** How an answer is drawn. */
export type TemplateLayout =
  | { kind: 'sudoku'; columns: number; box_columns: number; box_rows: number }
  | { kind: 'maze'; columns: number }
  | { kind: 'sum'; columns: number }
  | { kind: 'brackets' }
  | { kind: 'sentences'; head: number; sentence: number; clauses: number; clause: number }
  | { kind: 'graph'; edges: number }

export interface CompletionRequest extends AnswerSettings {
  prompt?: Text | string[] | number[][]
  n?: number
  best_of?: number
  echo?: boolean
  user?: string
}

export interface CompletionLogprobs {
  tokens: string[]
  token_logprobs: (number | null)[]
  top_logprobs: (Record<string, number> | null)[]
  text_offset: number[]
}

export type FinishReason = 'stop' | 'length' | 'unsatisfied' | 'cancelled'

export interface Completion {
  id: string
  object: 'text_completion'
  created: number
  model: string
  choices: {
    index: number
    text: string
    logprobs: CompletionLogprobs | null
    finish_reason: FinishReason
    refinement: Refinement
  }[]
  usage: Usage
  /** Of the choice whose answer has the lowest energy. */
  refinement: Refinement
}

/** A part of a streamed completion; with `include_refinement`, descent steps too. */
export interface CompletionChunk {
  id: string
  object: 'text_completion'
  created: number
  model: string
  choices: {
    index: number
    text: string
    logprobs: CompletionLogprobs | null
    finish_reason: FinishReason | null
  }[]
  usage?: Usage | null
  refinement?: ChunkRefinement
}

/** In a stream with `include_refinement`: a step, an answer that has settled, or what all of them took. */
export type ChunkRefinement =
  ({ type: 'step' } & StepFields) | SettledFields | ({ type: 'finished' } & Refinement)

/** An answer that has settled. */
export interface SettledFields {
  type: 'committed'
  position: number
  tokens: number
  steps: number
  energy: EnergySummary
  stop_reason: string
  /** Of descent. */
  seconds: number
}

export interface StreamOptions {
  include_usage?: boolean
  include_refinement?: boolean
}

/** A call of a tool in a conversation, which is sent back with what the tool said. */
export interface ChatToolCall {
  id: string
  type: 'function'
  /** `arguments`: JSON. */
  function: { name: string; arguments: string }
}

export type ChatMessage =
  | { role: 'system' | 'developer' | 'user'; content: string }
  /** `content`: null where there are only calls. */
  | { role: 'assistant'; content: string | null; tool_calls?: ChatToolCall[] }
  | { role: 'tool'; content: string; tool_call_id: string }

interface Tool {
  name: string
  description?: string
  /** A JSON schema of the arguments. */
  parameters?: Record<string, unknown>
}

export interface ChatRequest extends Settings {
  messages: ChatMessage[]
  n?: number
  max_completion_tokens?: number
  /** Of every token; `top_logprobs` alternatives, 0 to 20. */
  logprobs?: boolean
  top_logprobs?: number
  /** Of models whose chat template knows tools. */
  tools?: { type: 'function'; function: Tool }[]
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } }
}

/** The log-probability of a token, and of its alternatives. */
export interface TokenLogprob {
  token: string
  logprob: number
  /** UTF-8. */
  bytes: number[]
  top_logprobs: { token: string; logprob: number; bytes: number[] }[]
}

type ChatFinishReason = FinishReason | 'tool_calls'

export interface ChatCompletion {
  id: string
  object: 'chat.completion'
  created: number
  model: string
  choices: {
    index: number
    message: Extract<ChatMessage, { role: 'assistant' }>
    logprobs: { content: TokenLogprob[] } | null
    finish_reason: ChatFinishReason
    refinement: Refinement
  }[]
  usage: Usage
  /** Of the choice whose answer has the lowest energy. */
  refinement: Refinement
}

export interface ChatChunk {
  id: string
  object: 'chat.completion.chunk'
  created: number
  model: string
  choices: {
    index: number
    /** A call comes whole, in one delta. */
    delta: {
      role?: 'assistant'
      content?: string
      tool_calls?: (ChatToolCall & { index: number })[]
    }
    logprobs?: { content: TokenLogprob[] } | null
    finish_reason: ChatFinishReason | null
  }[]
  usage?: Usage | null
  refinement?: ChunkRefinement
}

interface Measured {
  model?: string
  by?: 'energy' | 'readout'
  reasoning_effort?: Effort
  refinement?: RefinementSettings
}

export interface ScoreRequest extends Measured {
  prompt?: Text
  answers: Text[]
}

export interface Scores {
  object: 'list'
  model: string
  by: 'energy' | 'readout'
  /** In the order of the answers; a lower energy fits better. */
  data: {
    object: 'score'
    index: number
    energy: number
    energy_per_token: number
    tokens: number
    parts: {
      text: string
      tokens: number
      energy: number
      disagreement?: number
      doubt?: number
    }[]
  }[]
  usage: Usage
}

export interface RerankRequest extends Measured {
  query: string
  documents: (string | { text: string })[]
  top_n?: number
  return_documents?: boolean
}

export interface Reranked {
  model: string
  by: 'energy' | 'readout'
  /** Most relevant first. */
  results: { index: number; relevance_score: number; document?: { text: string } }[]
  usage: Usage
}

export interface EmbeddingRequest {
  model?: string
  input: Text | string[] | number[][]
  representation?: 'observed' | 'answer'
  normalize?: boolean
  reasoning_effort?: Effort
  refinement?: RefinementSettings
}

export interface Embeddings {
  object: 'list'
  model: string
  representation: 'observed' | 'answer'
  data: { object: 'embedding'; index: number; embedding: number[] }[]
  usage: { prompt_tokens: number; total_tokens: number }
}

export interface LandscapeRequest {
  model?: string
  prompt?: Text
  template?: string
  seed?: number
  reasoning_effort?: Effort
  refinement?: RefinementSettings
  /** Default: all. */
  directions?: ('candidates' | 'gradient' | 'random')[]
  /** How many random directions, 1 to 16. */
  random?: number
  /** Of each line. */
  points?: number
  /** Lines go from -reach to reach. */
  reach?: number
  /** The energy on the plane in which most of the descent lies. */
  plane?: { points?: number }
}

/** Energies are null where they are not finite. */
export interface Landscape {
  object: 'landscape'
  model: string
  /** The answer at the centre of all lines. */
  text: string
  lines: {
    direction: 'candidate' | 'gradient' | 'random'
    candidate?: number
    length: number
    at: number[]
    energies: (number | null)[]
  }[]
  plane?: {
    /** Of the columns and of the rows, in units of the state. */
    x: number[]
    y: number[]
    /** [rows][columns] */
    energies: (number | null)[][]
    path: { x: number; y: number; energy: number | null }[]
    explained: number
  }
  refinement: Refinement
  usage: Usage
}

/** What `finish` and `extend` of a running request did: how many choices still ran. */
export interface SteeredRequest {
  id: string
  object: 'steering'
  action: 'finish' | 'extend'
  choices: number
}

/** What an extension adds to the limits of the present answer. */
export interface Extension {
  steps?: number
  seconds?: number
}

/** A call of a tool in the output of a response, which may be sent back in the input. */
export interface FunctionCall {
  type: 'function_call'
  call_id: string
  name: string
  /** JSON. */
  arguments: string
}

export type InputItem =
  | { type?: 'message'; role: 'system' | 'developer' | 'user' | 'assistant'; content: string }
  | FunctionCall
  | { type: 'function_call_output'; call_id: string; output: string }

export interface ResponseRequest extends Sampling {
  input?: string | InputItem[]
  instructions?: string
  previous_response_id?: string
  /** Of `responseState`: goes on from there. Beside it only what says how the response is followed and kept. */
  resume_from?: string
  max_output_tokens?: number
  template?: string
  reasoning?: { effort?: Effort }
  /** What the text is. */
  text?: { format?: TextFormat }
  /** Alternatives of every token, 0 to 20; `include: ['message.output_text.logprobs']` asks for them. */
  top_logprobs?: number
  /** Of models whose chat template knows tools. */
  tools?: ({ type: 'function' } & Tool)[]
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; name: string }
  /** More in events and in the result, such as `basin:refinement_step`. */
  include?: string[]
  /** It runs on without this connection. */
  background?: boolean
  /** Default true: only a stored response can be gone on with after a connection has broken. */
  store?: boolean
  stream_options?: { include_refinement?: boolean }
  metadata?: Record<string, string>
}

export interface StoredResponse {
  id: string
  object: 'response'
  created_at: number
  completed_at: number | null
  status: 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'
  background: boolean
  error: { code: string; message: string } | null
  incomplete_details: { reason: 'max_output_tokens' | 'unsatisfied' } | null
  model: string
  output: (
    | {
        type: 'message'
        id: string
        role: 'assistant'
        content: { type: 'output_text'; text: string; logprobs: TokenLogprob[] }[]
      }
    | (FunctionCall & { id: string })
  )[]
  previous_response_id: string | null
  text: { format: TextFormat }
  /** Null until it ends. */
  usage: { input_tokens: number; output_tokens: number; total_tokens: number } | null
  metadata: Record<string, string>
  store: boolean
  seed: number
  refinement: Refinement | null
}

/** What a response that runs is, to go on with later or elsewhere. */
export interface ResponseState {
  id: string
  object: 'response.state'
  model: string
  /** Descent steps that it has taken. */
  steps: number
  /** For `resume_from`. */
  state: string
}

/** The events of a response, numbered from 0 on; docs/http.md lists their types. */
export type ResponseEvent = { sequence_number: number } & (
  | {
      type:
        | 'response.created'
        | 'response.queued'
        | 'response.in_progress'
        | 'response.completed'
        | 'response.incomplete'
        | 'response.failed'
      response: StoredResponse
    }
  | { type: 'response.output_text.delta'; item_id: string; delta: string }
  | { type: 'response.output_text.done'; item_id: string; text: string }
  | { type: 'response.function_call_arguments.delta'; item_id: string; delta: string }
  | {
      type: 'response.function_call_arguments.done'
      item_id: string
      name: string
      arguments: string
    }
  | ({ type: 'basin:refinement_step'; item_id: string } & StepFields)
  | {
      type:
        | 'response.output_item.added'
        | 'response.output_item.done'
        | 'response.content_part.added'
        | 'response.content_part.done'
    }
  | { type: 'error'; code: string; message: string }
)

/** One descent step of one candidate. */
export interface StepFields {
  /** Of the answer in the completion, in tokens. */
  position: number
  /** From 1 on. */
  step: number
  candidate: number
  energy: number
  best_energy: number
  gradient_norm: number
  disagreement?: number
  doubt?: number
  /** The answer as it would be read now. */
  text: string
  /** The most probable tokens of the first position in descent. */
  top: { token: string; id: number; probability: number }[]
  /** Of every position, with `logprobs`. */
  positions?: { tokens: string[]; probabilities: number[] }[]
}

/** What begins an answer on the socket. */
export interface RefineRequest extends AnswerSettings {
  prompt?: Text
  /** Keep the finished answer, so that `extend` goes on from it. Default: false. */
  hold?: boolean
}

/** The events of an answer on the socket. */
export type RefineEvent = { sequence_number: number } & (
  | { type: 'started'; id: string; model: string; prompt_tokens: number; queue_seconds: number }
  | ({ type: 'step' } & StepFields)
  | ({ text: string } & SettledFields)
  | {
      type: 'finished'
      finish_reason: FinishReason
      text: string
      usage: Usage
      refinement: Refinement
    }
)
