/**
 * One model in the tab: its engine on the browser's GPU, and the core that also serves requests on a server.
 * Drives the core: one step after another while there is work, with the page's messages between them.
 */
import { openInBrowser } from '../../src/energy/webgpu/browser.js'
import type { WebgpuEngine } from '../../src/energy/webgpu/engine.js'
import { BasinError, fromErrorMessage, toErrorMessage } from '../../src/errors.js'
import { EngineCore } from '../../src/generation/core/engine-core.js'
import type { Of, RequestEvent } from '../../src/generation/protocol.js'
import { landscapeReply, probeRequestFrom } from '../../src/server/basin/landscape-fields.js'
import { framesOf } from '../../src/server/basin/event-frames.js'
import { defaultLimits } from '../../src/server/limits.js'
import { requestFrom } from '../../src/server/requests/request-settings.js'
import type { ServerEvent } from '../src/wire.js'
import { fetchModel } from './fetch-model.js'
import type {
  FromTab,
  LandscapeQuestion,
  ModelFiles,
  StartRequest,
  SteeringFrame,
} from './protocol.js'

/** Answers that descend at once: as many as the page shows. */
const SLOTS = 64
/** Positions of a cache page, and most pages, of a model whose contexts need fewer. */
const PAGE_POSITIONS = 16
const MOST_PAGES = 512
/** The page lets go of answers by itself. */
const HOLD_SECONDS = 3600
/** No screen shows more often. */
const REPORT_INTERVAL_S = 0.016

/** Resolves when the messages that have arrived have been handled. */
const messagesHandled = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(0)
  })

/** `hold`: it is kept after its end. `probed`: what a landscape was found to be, where one was asked for. */
interface Followed {
  hold: boolean
  probed?: Pick<Of<'probed'>, 'lines' | 'plane'>
}

export class TabModel {
  /** Answers that the page follows. */
  private readonly followed = new Map<string, Followed>()
  /** What the page has asked since the last step, in order. */
  private readonly changes: (() => void)[] = []
  private driving = false
  private expiry: ReturnType<typeof setTimeout> | undefined

  private constructor(
    private readonly engine: WebgpuEngine,
    private readonly core: EngineCore,
    private readonly send: (message: FromTab) => void,
  ) {}

  /** `lost`: called when the browser's GPU is gone for good. */
  static async open(
    files: ModelFiles,
    send: (message: FromTab) => void,
    lost: (reason: string) => void,
  ): Promise<TabModel> {
    const model = files.name
    const { config, tokenizer, weights } = await fetchModel(files, (done, total) => {
      send({ type: 'fetching', model, done, total })
    })
    send({ type: 'compiling', model })
    const perContext = Math.ceil(config.context_length / PAGE_POSITIONS)
    const pages = Math.max(perContext, Math.min(MOST_PAGES, SLOTS * perContext))
    const capacity = { slots: SLOTS, contexts: SLOTS, pages }
    const engine = await openInBrowser(navigator.gpu, { config, weights }, capacity, (error) => {
      lost(error.message)
    })
    const core = new EngineCore(engine, tokenizer, {
      prefillChunk: 256,
      holdSeconds: HOLD_SECONDS,
      pauseSeconds: HOLD_SECONDS,
      // The names of shared pages are digests by a library of Node's.
      sharePrefixes: false,
    })
    send({ type: 'ready', model, adapter: engine.info.backend })
    return new TabModel(engine, core, send)
  }

  /** No answer runs or is held. */
  get idle(): boolean {
    return this.followed.size === 0
  }

  start(id: string, asked: StartRequest): void {
    this.followed.set(id, { hold: asked.hold })
    this.change(id, () => {
      const settings = requestFrom(asked, this.engine.model, defaultLimits)
      const prompt = asked.prompt ?? ''
      const { hold } = asked
      this.core.submit({ ...settings, id, client: 'page', prompt, reportSteps: true, hold })
    })
  }

  /** The landscape around the answer to a question. */
  look(id: string, question: LandscapeQuestion): void {
    this.followed.set(id, { hold: false, probed: { lines: [] } })
    this.change(id, () => {
      const request = probeRequestFrom(question, this.engine.model, defaultLimits)
      this.core.submit({ ...request, id, client: 'page' })
    })
  }

  steer(id: string, frame: SteeringFrame): void {
    this.change(id, () => {
      this.core.control(id, frame)
    })
    if (frame.type === 'cancel') this.followed.delete(id)
  }

  async close(): Promise<void> {
    clearTimeout(this.expiry)
    for (const id of this.followed.keys())
      this.send({ type: 'broken', id, reason: 'its model was closed' })
    this.followed.clear()
    await this.engine.close()
  }

  /** Requests change between steps. What is wrong with one is told to it alone. */
  private change(id: string, apply: () => void): void {
    this.changes.push(() => {
      try {
        apply()
      } catch (error) {
        if (!(error instanceof BasinError)) throw error
        this.core.refuse(id, error)
      }
    })
    if (!this.driving) void this.drive()
  }

  private async drive(): Promise<void> {
    this.driving = true
    clearTimeout(this.expiry)
    try {
      let reportedAt = -Infinity
      let busy = true
      while (busy || this.changes.length > 0) {
        for (const apply of this.changes.splice(0)) apply()
        busy = await this.core.step()
        const now = this.core.now()
        const due = this.core.urgent || this.core.full || now - reportedAt >= REPORT_INTERVAL_S
        if (due || !busy) {
          reportedAt = now
          this.report()
        }
        await messagesHandled()
      }
    } catch (error) {
      const reason = fromErrorMessage(toErrorMessage(error)).message
      for (const id of this.followed.keys()) this.send({ type: 'broken', id, reason })
      this.followed.clear()
    } finally {
      this.driving = false
    }
    this.awaitExpiry()
  }

  private awaitExpiry(): void {
    const at = this.core.nextExpiry
    if (at === undefined) return
    const wait = Math.max(0, Math.ceil((at - this.core.now()) * 1000))
    this.expiry = setTimeout(() => {
      this.core.expire()
      void this.drive()
    }, wait)
  }

  private report(): void {
    const { events, released } = this.core.report()
    for (const { event, id } of events) {
      const request = this.followed.get(id)
      if (!request) continue
      if (request.probed && event.type !== 'failed') this.takeLandscape(id, request, event)
      else
        for (const frame of this.framesOf(event, id)) this.send({ type: 'event', id, event: frame })
      const over = event.type === 'failed' || (event.type === 'finished' && !request.hold)
      if (over) this.followed.delete(id)
    }
    for (const id of released) this.followed.delete(id)
  }

  private takeLandscape(id: string, request: Followed, event: RequestEvent): void {
    if (event.type === 'probed') request.probed = event
    if (event.type !== 'finished' || !request.probed) return
    const reply = landscapeReply(this.engine.model.name, request.probed, event)
    this.send({ type: 'landscape', id, landscape: reply })
  }

  /** The frames that a client of the socket would get. */
  private framesOf(event: RequestEvent, id: string): readonly ServerEvent[] {
    if (event.type === 'failed') {
      const { error } = fromErrorMessage(event.error).toJSON()
      return [{ type: 'error', error }]
    }
    return framesOf(event, { id, model: this.engine.model.name }) as unknown as ServerEvent[]
  }
}
