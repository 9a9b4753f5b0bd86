/**
 * One answer on the page: it is begun, steered, recorded, and played at a pace that can be seen. Where
 * a whole template settles slowly, the server is given a few steps at a time, so that what is seen is
 * where it stands; where a text grows, it runs ahead of the picture by a bounded number of steps.
 */
import { signal } from '@preact/signals'
import { openChannel } from './channel.js'
import { Recording } from './recording.js'
import { reasonOf } from './server.js'
import type { Channel, Request, ServerEvent } from './wire.js'

/** `held`: finished, and the server keeps it so that it can go on. */
export type Phase = 'opening' | 'running' | 'held' | 'ended' | 'failed' | 'cancelled'

export interface RunOptions {
  /** Moments a second; Infinity: as they come. */
  pace: number
  /** Most steps of an answer. */
  budget: number
  /** Keep the finished answer, so that it can be extended and edited. */
  hold: boolean
  /** Blanks of a text are committed evenly over the steps, so the server has to know them all at once. */
  textual?: boolean
}

/** Steps that the server may be ahead of a text that is played slowly; where it goes on again. */
const AHEAD = 96
const NEAR = 24
/** Seconds of a slow picture that the server is ahead where it is given its steps. */
const LEAD_SECONDS = 0.35
/** A held answer is let go of after a minute: this often the page says that it is still there. */
const KEEP_MS = 25_000

/** Redraws are asked for by any number of events and come once a frame. */
const waiting = new Set<() => void>()
let frame = 0
function nextFrame(redraw: () => void): void {
  waiting.add(redraw)
  if (frame !== 0) return
  frame = requestAnimationFrame(() => {
    frame = 0
    const due = [...waiting]
    waiting.clear()
    for (const each of due) each()
  })
}

export class Run {
  readonly recording: Recording
  readonly phase = signal<Phase>('opening')
  readonly failure = signal('')
  readonly kind = signal<Channel['kind']>('socket')
  /** Counts what changed in the recording, once a frame. */
  readonly version = signal(0)
  /** Moment that is shown: -1 before the first. */
  readonly cursor = signal(-1)
  readonly playing = signal(true)
  /** Moments a second; Infinity: as they come. */
  pace: number
  /** Most steps of the answer, extensions included, and how many of them the server was given. */
  private budget: number
  private granted: number
  /** The server has taken all it was given, and there is more. */
  private idle = false
  /** The server stands still because it was told to. */
  private serverPaused = false
  private stepping = false
  private channel: Channel | undefined
  private closed = false
  private readonly hold: boolean
  /** Share of a moment that has passed since the one shown. */
  private share = 0
  private readonly keeping: ReturnType<typeof setInterval>

  constructor(
    readonly request: Request,
    { budget, hold, pace, textual = false }: RunOptions,
  ) {
    this.recording = new Recording(request)
    this.pace = pace
    this.hold = hold
    this.budget = budget
    const piecemeal = hold && pace !== Infinity && request.template !== undefined && !textual
    this.granted = piecemeal ? Math.min(budget, this.lead) : budget
    void this.open(this.granted < budget ? this.granted : undefined)
    this.keeping = setInterval(() => {
      const kept = this.idle || this.phase.value === 'held'
      if (kept && !this.closed) this.channel?.tell({ type: 'extend', steps: 0 })
    }, KEEP_MS)
  }

  get last(): number {
    return this.recording.moments.length - 1
  }

  /** Steps may still come. */
  get live(): boolean {
    return this.phase.value === 'opening' || this.phase.value === 'running'
  }

  get canPause(): boolean {
    return this.kind.value === 'socket'
  }

  /** Steps of the answer, as far as is known. */
  get expected(): number {
    const known = this.last + 1
    const foreseen = this.request.template !== undefined && this.budget <= 4096
    return this.live && foreseen ? Math.max(known, this.budget) : known
  }

  private get lead(): number {
    // Where descents begin anew, the steps of all of them are counted.
    const counted = this.request.refinement?.restarts?.keep ?? 1
    return Math.max(1, counted * Math.ceil(this.pace * LEAD_SECONDS))
  }

  private async open(first: number | undefined): Promise<void> {
    try {
      const listener = {
        event: (event: ServerEvent) => this.take(event),
        broken: (reason: string) => this.fail(reason),
      }
      const channel = await openChannel(this.request, listener, this.hold, first)
      if (this.closed) {
        channel.close()
        return
      }
      this.channel = channel
      this.kind.value = channel.kind
    } catch (error) {
      this.fail(reasonOf(error))
    }
  }

  private take(event: ServerEvent): void {
    if (this.closed) return
    if (event.type === 'error') {
      this.refused(event.error.message)
      return
    }
    const before = this.last
    this.recording.take(event)
    if (event.type === 'started' && this.phase.value === 'opening') this.phase.value = 'running'
    if (event.type === 'finished') this.finished(event.finish_reason, event.refinement.stop_reason)
    if (this.stepping && this.last > before) this.stopAfterStep()
    const slow = this.pace !== Infinity || !this.playing.value
    if (this.live && slow && this.last - this.cursor.value > AHEAD) this.tellPause()
    nextFrame(this.redraw)
  }

  private readonly redraw = (): void => {
    this.version.value++
    if (this.playing.value && this.pace === Infinity) this.cursor.value = this.last
  }

  private finished(reason: string, stopped: string): void {
    this.serverPaused = false
    const more = stopped === 'max_steps' && this.granted < this.budget
    if (more && this.kind.value === 'socket' && this.hold) {
      this.recording.reopen()
      this.idle = true
      return
    }
    this.idle = false
    const held = this.hold && reason !== 'cancelled' && this.kind.value === 'socket'
    this.phase.value = held ? 'held' : 'ended'
  }

  /** Gives the server so many steps more of those that the answer has left. */
  private grant(steps: number): void {
    const given = Math.min(steps, this.budget - this.granted)
    if (given <= 0) return
    this.granted += given
    this.idle = false
    this.channel?.tell({ type: 'extend', steps: given })
  }

  private stopAfterStep(): void {
    this.stepping = false
    this.cursor.value = this.last
    if (this.live && !this.idle) this.tellPause()
  }

  /** An answer that is refused before its first step has failed; others go on. */
  private refused(reason: string): void {
    this.failure.value = reason
    this.stepping = false
    if (this.phase.value === 'opening') this.phase.value = 'failed'
    else if (this.idle || this.phase.value === 'held') {
      this.idle = false
      this.phase.value = 'ended'
    }
    nextFrame(this.redraw)
  }

  private fail(reason: string): void {
    if (this.closed || !this.isOpen) return
    this.failure.value = reason
    this.phase.value = 'failed'
    nextFrame(this.redraw)
  }

  private get isOpen(): boolean {
    return this.live || this.phase.value === 'held'
  }

  private tellPause(): void {
    if (this.serverPaused || this.idle || !this.live || !this.canPause) return
    this.serverPaused = true
    this.channel?.tell({ type: 'pause' })
  }

  private tellResume(): void {
    if (!this.serverPaused) return
    this.serverPaused = false
    this.channel?.tell({ type: 'resume' })
  }

  /** Called once a frame with the seconds since the last. */
  advance(seconds: number): void {
    if (!this.playing.value) return
    const { last } = this
    if (this.pace === Infinity) {
      if (this.cursor.value !== last) this.cursor.value = last
    } else if (this.cursor.value < last) {
      this.share += seconds * this.pace
      const whole = Math.floor(this.share)
      if (whole > 0) {
        this.share -= whole
        this.cursor.value = Math.min(last, this.cursor.value + whole)
      }
    }
    const ahead = last - this.cursor.value
    if (ahead < NEAR) this.tellResume()
    if (this.idle && ahead < this.lead) this.grant(this.pace === Infinity ? Infinity : this.lead)
    if (!this.live && this.cursor.value >= last) this.playing.value = false
  }

  pause(): void {
    this.playing.value = false
    this.tellPause()
  }

  resume(): void {
    if (!this.live && this.cursor.value >= this.last) this.cursor.value = -1
    this.playing.value = true
    this.share = 0
    this.tellResume()
  }

  seek(moment: number): void {
    this.playing.value = false
    this.tellPause()
    this.cursor.value = Math.max(-1, Math.min(this.last, moment))
  }

  /** One step more: of what is recorded, or of the descent. */
  step(): void {
    this.playing.value = false
    if (this.cursor.value < this.last) {
      this.tellPause()
      this.cursor.value++
      return
    }
    if (!this.isOpen) return
    this.stepping = true
    if (this.idle) this.grant(1)
    else if (this.phase.value === 'held') this.goOn(1)
    else {
      this.serverPaused = true
      this.tellResume()
    }
  }

  /** A larger budget, from wherever it stands. */
  extend(steps: number): void {
    if (!this.isOpen) return
    this.playing.value = true
    if (this.phase.value === 'held') this.goOn(this.pace === Infinity ? steps : this.lead, steps)
    else {
      this.budget += steps
      if (this.granted === this.budget - steps && !this.idle) {
        this.granted = this.budget
        this.channel?.tell({ type: 'extend', steps })
      }
    }
    this.tellResume()
  }

  /** A held answer goes on by so many steps of so many more. */
  private goOn(now: number, all = now): void {
    this.recording.reopen()
    this.phase.value = 'running'
    this.budget = this.granted + all
    this.grant(now)
  }

  /**
   * Sets a position where the answer stands; the rest follows within `steps` more. False where that
   * cannot be, and the answer has to begin again.
   */
  clamp(position: number, text: string, steps: number): boolean {
    const stands = this.kind.value === 'socket' && this.isOpen && this.recording.moments.length > 0
    if (!stands || this.recording.request.template === undefined) return false
    this.recording.edit(position, text)
    this.channel?.tell({ type: 'clamp', position, text })
    this.cursor.value = this.last
    this.extend(steps)
    this.version.value++
    return true
  }

  finish(): void {
    this.playing.value = true
    this.pace = Infinity
    if (this.idle) {
      this.idle = false
      this.budget = this.granted
      this.phase.value = 'held'
      this.recording.settle('finished')
    } else if (this.live) this.channel?.tell({ type: 'finish' })
    this.tellResume()
  }

  cancel(): void {
    if (!this.isOpen) return
    this.playing.value = false
    this.phase.value = 'cancelled'
    this.close()
  }

  /** Lets go of it; what is recorded stays. */
  close(): void {
    clearInterval(this.keeping)
    this.closed = true
    this.channel?.tell({ type: 'cancel' })
    this.channel?.close()
  }
}
