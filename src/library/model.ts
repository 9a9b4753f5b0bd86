/**
 * A model in this process, for programs that need no server: it descends in a worker thread of its own and
 * answers as the server does, whose request building and scoring it uses.
 */
import { availableParallelism } from 'node:os'
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { BasinError } from '../errors.js'
import type { EngineInfo } from '../energy/engine.js'
import type { EngineClient } from '../generation/client/engine-client.js'
import type { ModelConfig } from '../model/config.js'
import type { Caps } from '../refine/presets.js'
import { embedTexts } from '../server/openai/text-embeddings.js'
import { scoreAnswers } from '../server/basin/scoring.js'
import { defaultLimits, type Limits } from '../server/limits.js'
import { placeTermModels } from '../server/requests/energy-terms.js'
import { requestFrom } from '../server/requests/request-settings.js'
import { RequestService } from '../server/requests/request-service.js'
import { scanModels } from './model-folder.js'
import { openEngineClient, type WorkerFlags } from './open-models.js'
import { shippedModels } from './package.js'
import { Refinement, type Answer } from './refinement.js'
import { type AnswerBudget, type AnswerRequest, budgetFields, settingsOf } from './request.js'

export interface OpenModelOptions {
  /** `auto` (default) takes the fastest engine that this machine has; others are named in `basin serve --help`. */
  engine?: string
  /** Of the engine; default: all cores but one. */
  threads?: number
  /** Number type of the weights: `f32` (default), `bf16` or `int8`. */
  weights?: string
  /** The direction in which a residual energy descends. */
  refiner?: string
  /** Candidates that descend at once, of all requests together; default 8. */
  slots?: number
  /** Pages of the context cache. */
  pages?: number
  /** Most requests that wait; default 256. */
  maxQueue?: number
}

export interface ScoreRequest extends AnswerBudget {
  /** What the answers follow; default: nothing. */
  prompt?: string | number[]
  answers: (string | number[])[]
  /** `energy`: the model's own. `readout`: minus the log-probability of the tokens. Default: by the model. */
  by?: 'energy' | 'readout'
  signal?: AbortSignal
}

/** How well one answer fits: a lower energy fits better. */
export interface Score {
  energy: number
  energyPerToken: number
  tokens: number
}

export interface EmbedRequest extends AnswerBudget {
  /** Texts, or templates for a model that fills them. */
  input: string | string[]
  /** `observed`: the mean state of the tokens. `answer`: where the answer after the text settled. */
  representation?: 'observed' | 'answer'
  /** To length 1; default true. */
  normalize?: boolean
  signal?: AbortSignal
}

/** Whoever runs this owns the machine: only what an answer can hold is bounded. */
const caps: Caps = { maxSteps: 2 ** 31 - 1, maxSeconds: 86_400, candidates: 64 }

const never = new AbortController().signal

export class Model {
  /** What the server's scoring and embedding take their limits and their engine's requests from. */
  private readonly context: { limits: Limits; requests: RequestService }

  constructor(private readonly client: EngineClient) {
    const limits: Limits = {
      ...defaultLimits,
      caps: { ...caps, candidates: Math.min(caps.candidates, client.capacity.slots) },
      steps: Number.MAX_SAFE_INTEGER,
    }
    const requests = new RequestService({
      engines: new Map([[client.model.name, client]]),
      limits,
      metrics: { request: () => ({ observe: () => undefined }) },
      quotas: undefined,
      traces: undefined,
    })
    this.context = { limits, requests }
  }

  get name(): string {
    return this.client.model.name
  }

  /** The model's config.json. */
  get config(): ModelConfig {
    return this.client.model
  }

  /** Which engine computes, on what, and why. */
  get engine(): EngineInfo {
    return this.client.engine
  }

  /**
   * An answer whose descent is watched: `for await (const step of model.refine({ template }))`. Throws what is
   * wrong with the settings; the rest is thrown by the loop.
   */
  refine(request: AnswerRequest): Refinement {
    return this.submit(request, true)
  }

  /** An answer as a whole. */
  generate(request: AnswerRequest): Promise<Answer> {
    return this.submit(request, false).answer()
  }

  /** How well each of the answers fits after the prompt, in their order. */
  async score({ answers, by, prompt, signal, ...budget }: ScoreRequest): Promise<Score[]> {
    const scores = await scoreAnswers(this.context, this.requester(signal), {
      ...budgetFields(budget),
      answers,
      ...(prompt !== undefined && { prompt }),
      ...(by && { by }),
    })
    return scores.data.map((score) => ({
      energy: score.energy,
      energyPerToken: score.energy_per_token,
      tokens: score.tokens,
    }))
  }

  /** One vector for each text, in their order. */
  async embed({
    input,
    normalize,
    representation,
    signal,
    ...budget
  }: EmbedRequest): Promise<Float32Array[]> {
    const embeddings = await embedTexts(this.context, this.requester(signal), {
      ...budgetFields(budget),
      input,
      ...(normalize !== undefined && { normalize }),
      ...(representation && { representation }),
    })
    return embeddings.data.map(({ embedding }) => Float32Array.from(embedding as number[]))
  }

  tokenize(text: string): Promise<readonly number[]> {
    return this.client.tokenize(text, 'library')
  }

  detokenize(tokens: readonly number[]): Promise<string> {
    return this.client.detokenize(tokens, 'library')
  }

  /** Ends the worker thread. Requests that run fail with `shutting_down`. */
  close(): Promise<void> {
    return this.client.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private submit({ signal, ...request }: AnswerRequest, watched: boolean): Refinement {
    const settings = settingsOf(request)
    signal?.throwIfAborted()
    const asked = {
      ...requestFrom(settings, this.client.model, this.context.limits),
      prompt: request.prompt ?? '',
      client: 'library',
      reportSteps: watched,
      buffered: !watched,
      hold: false,
    }
    const stream = this.client.submit(placeTermModels(asked, directoryOf))
    return new Refinement(stream, signal)
  }

  private requester(signal: AbortSignal = never) {
    return { client: 'library', owner: 'library', engine: this.client, disconnected: signal }
  }
}

export function workerFlags(options: OpenModelOptions): WorkerFlags {
  const { engine, maxQueue, pages, refiner, slots, threads, weights } = options
  return {
    engine: engine ?? 'auto',
    threads: threads ?? Math.max(1, availableParallelism() - 1),
    slots: slots ?? 8,
    maxQueue: maxQueue ?? 256,
    prefillChunk: 256,
    // Finished answers of sockets; those of the library are not held.
    holdSeconds: 60,
    pauseSeconds: 600,
    watchdogSeconds: 30,
    ...(weights !== undefined && { weights }),
    ...(refiner !== undefined && { refiner }),
    ...(pages !== undefined && { pages }),
  }
}

/** A directory with a config.json, or the name of a model that comes with the package. */
export function directoryOf(model: string): string {
  if (existsSync(join(model, 'config.json'))) return resolve(model)
  const { found } = scanModels(shippedModels)
  const shipped = found.find(({ directory }) => basename(directory) === model)
  if (shipped) return shipped.directory
  const names = found.map(({ directory }) => basename(directory))
  const reason = `it is no directory with a config.json, nor one of the models of the package: ${names.join(', ')}`
  throw new BasinError('invalid_data', { path: model, reason })
}

/**
 * Opens a model: a directory, or the name of one that comes with the package, such as `sudoku6`. Rejects with
 * what is wrong with it. Whoever opens a model closes it.
 */
export async function openModel(model: string, options: OpenModelOptions = {}): Promise<Model> {
  return new Model(await openEngineClient(directoryOf(model), workerFlags(options)))
}
