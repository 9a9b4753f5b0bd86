/**
 * The models that this server answers with, by the names that requests use: which there are, which of
 * them are in memory, and which go when room is needed. A model leaves memory only when nobody uses it.
 */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { ModelConfig } from '../../model/config.js'

/** What is known of a model, in memory or not. */
export interface ModelProfile {
  model: ModelConfig
  /** It has a chat template. */
  chat: boolean
}

/** A model that can be brought into memory. */
export interface ModelSource extends ModelProfile {
  /** What it is expected to take, before it has been measured. */
  bytes: number
  open: () => Promise<EngineClient>
}

export type ModelState = 'loaded' | 'loading' | 'leaving' | 'unloaded'
/** `asked`: by an administrator, who alone brings it back. `room`: until a request needs it. */
export type UnloadReason = 'asked' | 'room'

export interface ModelListener {
  loaded: (name: string, generation: EngineClient) => void
  unloaded: (name: string, reason: UnloadReason) => void
}

interface Entry {
  readonly profile: ModelProfile
  readonly open: ModelSource['open'] | undefined
  state: ModelState
  generation: EngineClient | undefined
  /** Requests do not bring it back. */
  withdrawn: boolean
  bytes: number
  /** Requests that have it. */
  users: number
  /** On the clock of `performance.now()`. */
  lastUsed: number
  /** Until it is loaded, or gone. */
  change: Promise<void> | undefined
  /** Called when the last user is through. */
  free: (() => void) | undefined
}

export interface ServedOptions {
  /** In memory, kept up to date. */
  loaded: Map<string, EngineClient>
  /** Of those in memory and of others; a model without one is never brought back. */
  offers?: ReadonlyMap<string, ModelSource>
  /** Answers requests that name none. */
  defaultName: string
  /** Most that the models in memory may take together. */
  memoryBytes?: number
}

export class ModelRegistry {
  private readonly entries = new Map<string, Entry>()
  private readonly loaded: Map<string, EngineClient>
  private readonly defaultName: string
  private readonly memoryBytes: number
  private closing = false

  constructor(
    { defaultName, loaded, memoryBytes = Infinity, offers = new Map() }: ServedOptions,
    private readonly witness: ModelListener,
  ) {
    this.loaded = loaded
    this.defaultName = defaultName
    this.memoryBytes = memoryBytes
    for (const name of new Set([...loaded.keys(), ...offers.keys()])) {
      const generation = loaded.get(name)
      const offer = offers.get(name)
      const profile = generation ?? offer
      if (profile) this.entries.set(name, entryOf(profile, offer, generation))
      if (generation) witness.loaded(name, generation)
    }
  }

  /** Those in memory. */
  get byName(): ReadonlyMap<string, EngineClient> {
    return this.loaded
  }

  /** Those that requests may name, the default first. */
  get profiles(): ModelProfile[] {
    const names = [...this.entries].flatMap(([name, { withdrawn }]) => (withdrawn ? [] : [name]))
    names.sort((a, b) => Number(b === this.defaultName) - Number(a === this.defaultName))
    return names.flatMap((name) => this.entries.get(name)?.profile ?? [])
  }

  /** Throws `model_not_found`. */
  profile(name: string): ModelProfile {
    return this.find(name).profile
  }

  /** Throws `model_not_found`; `engine_unavailable` for one that is not in memory, which then is fetched. */
  pick(name: string | null | undefined): EngineClient {
    const asked = name ?? this.defaultName
    const entry = this.find(asked)
    entry.lastUsed = performance.now()
    if (entry.state === 'loaded' && entry.generation) return entry.generation
    void this.bring(asked, entry).catch(() => undefined)
    throw new BasinError('engine_unavailable', { model: asked })
  }

  /** Brings it into memory if it is not, and keeps it there until the returned function is called. */
  async use(name: string | null | undefined): Promise<() => void> {
    const asked = name ?? this.defaultName
    const entry = this.find(asked)
    entry.users++
    entry.lastUsed = performance.now()
    const release = () => {
      entry.users--
      if (entry.users === 0) entry.free?.()
    }
    try {
      await this.bring(asked, entry)
    } catch (error) {
      release()
      throw error
    }
    return release
  }

  /** By an administrator. Throws `model_not_found`, `no_room`, and what is wrong with the model. */
  async load(name: string): Promise<void> {
    const entry = this.entry(name)
    if (entry.state === 'leaving') await entry.change
    entry.withdrawn = false
    await this.bring(name, entry)
  }

  /**
   * By an administrator. Requests are refused at once; resolves when those before it are answered, or
   * when it is to be loaded again before it has left.
   */
  async unload(name: string): Promise<void> {
    const entry = this.entry(name)
    entry.withdrawn = true
    await entry.change?.catch(() => undefined)
    // Both may have changed meanwhile.
    const { state, withdrawn } = this.entry(name)
    if (state === 'loaded' && withdrawn) await this.remove(name, entry, 'asked')
  }

  /** Every model that there is. */
  get states() {
    return [...this.entries].map(([name, entry]) => ({
      ...{ name, state: entry.state, withdrawn: entry.withdrawn, bytes: entry.bytes },
      idleSeconds: isIdle(entry) ? (performance.now() - entry.lastUsed) / 1000 : 0,
    }))
  }

  /** Models that are on their way in are closed too. */
  async close(): Promise<void> {
    this.closing = true
    await Promise.allSettled([...this.entries.values()].flatMap(({ change }) => change ?? []))
  }

  private entry(name: string): Entry {
    const entry = this.entries.get(name)
    if (entry) return entry
    throw new BasinError('not_found', { what: `The model ${name}` })
  }

  private find(name: string): Entry {
    const entry = this.entries.get(name)
    if (entry && !entry.withdrawn) return entry
    throw new BasinError('model_not_found', {
      param: 'model',
      model: name,
      served: this.profiles.map(({ model }) => model.name).join(', '),
    })
  }

  private async bring(name: string, entry: Entry): Promise<void> {
    if (entry.state === 'leaving') await entry.change
    if (entry.withdrawn) this.find(name)
    if (entry.state === 'loaded') return
    entry.change ??= this.open(name, entry).finally(() => {
      entry.change = undefined
    })
    await entry.change
  }

  private async open(name: string, entry: Entry): Promise<void> {
    if (!entry.open || this.closing) throw new BasinError('engine_unavailable', { model: name })
    entry.state = 'loading'
    try {
      await this.makeRoom(name, entry)
      await this.take(name, entry, await entry.open())
    } finally {
      if (!entry.generation) entry.state = 'unloaded'
    }
  }

  private async take(name: string, entry: Entry, generation: EngineClient): Promise<void> {
    if (this.closing) {
      await generation.close()
      throw new BasinError('shutting_down')
    }
    entry.generation = generation
    entry.bytes = generation.memory
    entry.lastUsed = performance.now()
    entry.state = 'loaded'
    this.loaded.set(name, generation)
    this.witness.loaded(name, generation)
  }

  /** The one that was used least recently goes first, of those that nobody uses. */
  private async makeRoom(name: string, entry: Entry): Promise<void> {
    for (;;) {
      const present = [...this.entries].filter(([, { state }]) => state !== 'unloaded')
      const taken = present.reduce((sum, [, { bytes }]) => sum + bytes, 0)
      if (taken <= this.memoryBytes) return
      const [idle] = present
        .filter(([, other]) => other !== entry && other.state === 'loaded' && isIdle(other))
        .sort(([, a], [, b]) => a.lastUsed - b.lastUsed)
      if (!idle) throw new BasinError('no_room', { model: name })
      await this.remove(...idle, 'room')
    }
  }

  private remove(name: string, entry: Entry, reason: UnloadReason): Promise<void> {
    entry.state = 'leaving'
    entry.change = this.empty(name, entry, reason).finally(() => {
      entry.change = undefined
    })
    return entry.change
  }

  private async empty(name: string, entry: Entry, reason: UnloadReason): Promise<void> {
    if (entry.users > 0) await new Promise<void>((resolve) => (entry.free = resolve))
    entry.free = undefined
    await entry.generation?.drain()
    // A worker that is being ended is none that has stalled.
    this.loaded.delete(name)
    await entry.generation?.close()
    entry.generation = undefined
    entry.state = 'unloaded'
    this.witness.unloaded(name, reason)
  }
}

const isIdle = ({ generation, users }: Entry): boolean =>
  users === 0 && (generation?.outstanding ?? 0) === 0

const entryOf = (
  { chat, model }: ModelProfile,
  offer: ModelSource | undefined,
  generation: EngineClient | undefined,
): Entry => ({
  ...{
    profile: { chat, model },
    open: offer?.open,
    generation,
    state: generation ? 'loaded' : 'unloaded',
  },
  bytes: generation?.memory ?? offer?.bytes ?? 0,
  ...{ withdrawn: false, users: 0, lastUsed: performance.now() },
  ...{ change: undefined, free: undefined },
})
