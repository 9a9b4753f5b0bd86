/**
 * The models that this server answers with, by the names that requests use: which there are, which of them
 * are in memory, and which leave when another needs the room. A model leaves memory only when nobody uses it.
 */
import { BasinError } from '../../errors.js'
import type { EngineClient } from '../../generation/client/engine-client.js'
import type { ModelConfig } from '../../model/config.js'
import type { ChatAbility } from '../../tokenizer/chat-template.js'

/** What is known of a model, in memory or not. */
export interface ModelProfile extends ChatAbility {
  model: ModelConfig
}

const profileOf = ({ chat, model, tools }: ModelProfile): ModelProfile => ({
  chat,
  model,
  ...(tools && { tools }),
})

/** A model that can be brought into memory. */
export interface ModelSource extends ModelProfile {
  /** What it is expected to take, before that has been measured. */
  bytes: number
  /** Where it is; absent: it cannot be opened beside another one. */
  directory?: string
  open: () => Promise<EngineClient>
}

export type ModelState = 'loaded' | 'loading' | 'leaving' | 'unloaded'
/** `asked`: by an administrator, who alone brings it back. `room`: until a request needs it again. */
export type UnloadReason = 'asked' | 'room'

export interface ModelListener {
  loaded: (name: string, engine: EngineClient) => void
  unloaded: (name: string, reason: UnloadReason) => void
  /** Requests may name other models than before. */
  listed: () => void
}

/** Keeps a model in memory until it is released. */
export interface ModelLease {
  readonly engine: EngineClient
  /** To be called once. */
  release: () => void
}

interface Entry {
  profile: ModelProfile
  open: ModelSource['open'] | undefined
  directory: string | undefined
  state: ModelState
  engine: EngineClient | undefined
  /** An administrator has unloaded it: requests do not bring it back. */
  withdrawn: boolean
  bytes: number
  /** Bytes of other models in its thread, whose energies are terms of its requests, by their names. */
  beside: Map<string, number>
  /** Leases that have not been released. */
  leases: number
  /** On the clock of `performance.now()`. */
  lastUsed: number
  /** Pending until it is loaded or gone. */
  change: Promise<void> | undefined
  /** Called when the last lease is released. */
  onFree: (() => void) | undefined
}

export interface RegistryOptions {
  /** The registry adds and removes models that are loaded and unloaded. */
  inMemory: Map<string, EngineClient>
  /** Of those in memory and of others; a model without a source is never brought back. */
  sources?: ReadonlyMap<string, ModelSource>
  /** Answers requests that name none. */
  defaultName: string
  /** Most bytes that the models in memory may take together. */
  memoryBytes?: number
}

export class ModelRegistry {
  private readonly entries = new Map<string, Entry>()
  private readonly loaded: Map<string, EngineClient>
  private readonly defaultName: string
  private readonly memoryBytes: number
  private closing = false

  constructor(
    { defaultName, inMemory, memoryBytes = Infinity, sources = new Map() }: RegistryOptions,
    private readonly listener: ModelListener,
  ) {
    this.loaded = inMemory
    this.defaultName = defaultName
    this.memoryBytes = memoryBytes
    for (const name of new Set([...inMemory.keys(), ...sources.keys()])) {
      const engine = inMemory.get(name)
      const source = sources.get(name)
      const profile = engine ?? source
      if (profile) this.entries.set(name, entryOf(profile, source, engine))
      if (engine) listener.loaded(name, engine)
    }
  }

  get inMemory(): ReadonlyMap<string, EngineClient> {
    return this.loaded
  }

  /** Of the models that requests may name, the default first. */
  get profiles(): ModelProfile[] {
    const names = [...this.entries].flatMap(([name, { withdrawn }]) => (withdrawn ? [] : [name]))
    names.sort((a, b) => Number(b === this.defaultName) - Number(a === this.defaultName))
    return names.flatMap((name) => this.entries.get(name)?.profile ?? [])
  }

  /** Throws `model_not_found`. */
  profile(name: string): ModelProfile {
    return this.find(name).profile
  }

  /**
   * At once. Throws `model_not_found`, and `engine_unavailable` for a model that is not in memory: then it is
   * loaded, so that a later call finds it.
   */
  get(name: string | null | undefined): EngineClient {
    const asked = name ?? this.defaultName
    const entry = this.find(asked)
    entry.lastUsed = performance.now()
    if (entry.state === 'loaded' && entry.engine) return entry.engine
    // Whoever asks again hears what is wrong with the model.
    void this.bring(asked, entry).catch(() => undefined)
    throw new BasinError('engine_unavailable', { model: asked })
  }

  /**
   * Brings it into memory if it is not there. Throws `model_not_found`, `no_room`, and what is wrong with the
   * model.
   */
  async lease(name: string | null | undefined): Promise<ModelLease> {
    const asked = name ?? this.defaultName
    const entry = this.find(asked)
    entry.leases++
    entry.lastUsed = performance.now()
    const release = () => {
      entry.leases--
      if (entry.leases === 0) entry.onFree?.()
    }
    try {
      return { engine: await this.bring(asked, entry), release }
    } catch (error) {
      release()
      throw error
    }
  }

  /**
   * Makes room in the thread of a model that is in memory for another one, whose energy is a term of its requests:
   * the second copy of it counts until the first model leaves. Returns where the other model is. Throws
   * `model_not_found`, `no_room`, and `not_supported` for a model without files.
   */
  async placeBeside(name: string, other: string): Promise<string> {
    const { bytes, directory } = this.find(other)
    if (directory === undefined) {
      const reason = `${other} is served without a directory to open it from`
      throw new BasinError('not_supported', { param: 'model', reason })
    }
    const entry = this.entry(name)
    if (entry.beside.has(other)) return directory
    entry.beside.set(other, bytes)
    try {
      await this.makeRoom(other, entry)
    } catch (error) {
      entry.beside.delete(other)
      throw error
    }
    return directory
  }

  /** For an administrator. Throws `not_found`, `no_room`, and what is wrong with the model. */
  async load(name: string): Promise<void> {
    const entry = this.entry(name)
    if (entry.state === 'leaving') await entry.change
    entry.withdrawn = false
    this.listener.listed()
    await this.bring(name, entry)
  }

  /**
   * For an administrator. New requests are refused at once. Resolves when earlier ones are answered and the
   * model is gone, or when it is to be loaded again before it has left. Throws `not_found`.
   */
  async unload(name: string): Promise<void> {
    const entry = this.entry(name)
    entry.withdrawn = true
    this.listener.listed()
    await entry.change?.catch(() => undefined)
    // Both may have changed meanwhile.
    const { state, withdrawn } = this.entry(name)
    if (state === 'loaded' && withdrawn) await this.remove(name, entry, 'asked')
  }

  /**
   * For an administrator. New models are brought into memory when a request needs them. A model that is not
   * in memory is from now on what its source says, or gone without one; one in memory is so once it has left.
   */
  replaceSources(sources: ReadonlyMap<string, ModelSource>): Record<'added' | 'removed', string[]> {
    const added = [...sources.keys()].filter((name) => !this.entries.has(name))
    const removed = [...this.entries.keys()].filter((name) => !sources.has(name))
    for (const name of removed) {
      const entry = this.entries.get(name)
      if (entry) {
        entry.open = undefined
        entry.directory = undefined
      }
      if (entry?.state === 'unloaded') this.entries.delete(name)
    }
    for (const [name, source] of sources) {
      const entry = this.entries.get(name)
      if (entry) {
        entry.open = source.open
        entry.directory = source.directory
      }
      if (entry?.state === 'unloaded') entry.profile = profileOf(source)
      if (!entry) this.entries.set(name, entryOf(source, source, undefined))
    }
    this.listener.listed()
    return { added, removed }
  }

  /** Of every model that there is. */
  get states() {
    return [...this.entries].map(([name, entry]) => ({
      name,
      state: entry.state,
      withdrawn: entry.withdrawn,
      bytes: bytesOf(entry),
      idleSeconds: isIdle(entry) ? (performance.now() - entry.lastUsed) / 1000 : 0,
    }))
  }

  /** Resolves when no model is on its way in any more; those that arrive late are closed. */
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

  private async bring(name: string, entry: Entry): Promise<EngineClient> {
    if (entry.state === 'leaving') await entry.change
    if (entry.withdrawn) this.find(name)
    if (entry.state !== 'loaded') {
      entry.change ??= this.open(name, entry).finally(() => {
        entry.change = undefined
      })
      await entry.change
    }
    if (!entry.engine) throw new BasinError('engine_unavailable', { model: name })
    return entry.engine
  }

  private async open(name: string, entry: Entry): Promise<void> {
    if (!entry.open || this.closing) throw new BasinError('engine_unavailable', { model: name })
    entry.state = 'loading'
    try {
      await this.makeRoom(name, entry)
      await this.add(name, entry, await entry.open())
    } finally {
      if (!entry.engine) entry.state = 'unloaded'
    }
  }

  private async add(name: string, entry: Entry, engine: EngineClient): Promise<void> {
    if (this.closing) {
      await engine.close()
      throw new BasinError('shutting_down')
    }
    entry.engine = engine
    entry.bytes = engine.memory
    entry.lastUsed = performance.now()
    entry.state = 'loaded'
    this.loaded.set(name, engine)
    this.listener.loaded(name, engine)
  }

  /** Of the models that nobody uses, the one that was used least recently leaves first. */
  private async makeRoom(name: string, entry: Entry): Promise<void> {
    for (;;) {
      const present = [...this.entries].filter(([, { state }]) => state !== 'unloaded')
      const taken = present.reduce((sum, [, each]) => sum + bytesOf(each), 0)
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
    if (entry.leases > 0) await new Promise<void>((resolve) => (entry.onFree = resolve))
    entry.onFree = undefined
    await entry.engine?.drain()
    // Health must not see a worker that is being ended as one that has stalled.
    this.loaded.delete(name)
    await entry.engine?.close()
    entry.engine = undefined
    entry.beside.clear()
    entry.state = 'unloaded'
    this.listener.unloaded(name, reason)
  }
}

const isIdle = ({ engine, leases }: Entry): boolean =>
  leases === 0 && (engine?.outstanding ?? 0) === 0

/** What it takes, with the models beside it. */
const bytesOf = ({ beside, bytes }: Entry): number =>
  [...beside.values()].reduce((sum, each) => sum + each, bytes)

const entryOf = (
  profile: ModelProfile,
  source: ModelSource | undefined,
  engine: EngineClient | undefined,
): Entry => ({
  profile: profileOf(profile),
  open: source?.open,
  directory: source?.directory,
  state: engine ? 'loaded' : 'unloaded',
  engine,
  withdrawn: false,
  bytes: engine?.memory ?? source?.bytes ?? 0,
  beside: new Map(),
  leases: 0,
  lastUsed: performance.now(),
  change: undefined,
  onFree: undefined,
})
