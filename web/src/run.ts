/**
 * One answer on the page: it is begun, steered, recorded, and played at a pace that can be seen. The
 * server runs ahead of the picture by a bounded number of steps, and waits for it there.
 */
import { signal } from '@preact/signals'
import { type Channel, openChannel } from './channel.js'
import { Recording } from './recording.js'
import { reasonOf } from './server.js'
import type { Request, ServerEvent } from './wire.js'

export type Phase = 'opening' | 'running' | 'held' | 'ended' | 'failed' | 'cancelled'

/** Steps that the server may be ahead of a picture that is played slowly; where it goes on again. */
const AHEAD = 96
const NEAR = 24

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
  /** The server stands still because it was told to. */
  private serverPaused = false
  private stepping = false
  private channel: Channel | undefined
  private closed = false
  /** Fraction of a moment that has passed since the one shown. */
  private phaseOfStep = 0

  constructor(
    readonly request: Request,
    /** Moments a second; Infinity: as they come. */
    public pace: number,
    private readonly hold = true,
  ) {
    this.recording = new Recording(request)
    void this.open()
  }

  get last(): number {
    return this.recording.moments.length - 1
  }

  /** Steps may still come without being asked for. */
  get live(): boolean {
    return this.phase.value === 'opening' || this.phase.value === 'running'
  }

  get canPause(): boolean {
    return this.kind.value === 'socket'
  }

  private async open(): Promise<void> {
    try {
      const listener = {
        event: (event: ServerEvent) => this.take(event),
        broken: (reason: string) => this.fail(reason),
      }
      const channel = await openChannel(this.request, listener, this.hold)
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
    if (event.type === 'started' || (event.type === 'step' && this.phase.value === 'held'))
      this.phase.value = 'running'
    if (event.type === 'finished') this.finished(event.finish_reason)
    if (this.stepping && this.last > before) this.stopAfterStep()
    if (this.live && !this.serverPaused && this.last - this.cursor.value > AHEAD) this.hush()
    nextFrame(this.redraw)
  }

  private readonly redraw = (): void => {
    this.version.value++
    if (this.playing.value && this.pace === Infinity) this.cursor.value = this.last
  }

  private finished(reason: string): void {
    this.serverPaused = false
    const held = this.hold && reason !== 'cancelled' && this.kind.value === 'socket'
    this.phase.value = held ? 'held' : 'ended'
  }

  private stopAfterStep(): void {
    this.stepping = false
    this.cursor.value = this.last
    if (this.live) this.tellPause()
  }

  /** An answer that is refused before its first step has failed; later ones go on. */
  private refused(reason: string): void {
    this.failure.value = reason
    if (this.phase.value === 'opening') this.phase.value = 'failed'
    if (this.phase.value === 'held') this.phase.value = 'ended'
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
    if (this.serverPaused || !this.live || !this.canPause) return
    this.serverPaused = true
    this.channel?.tell({ type: 'pause' })
  }

  private tellResume(): void {
    if (!this.serverPaused) return
    this.serverPaused = false
    this.channel?.tell({ type: 'resume' })
  }

  /** Far enough ahead of a slow picture. */
  private hush(): void {
    if (this.pace !== Infinity || !this.playing.value) this.tellPause()
  }

  /** Called once a frame with the seconds since the last. */
  advance(seconds: number): void {
    if (!this.playing.value) return
    const { last } = this
    if (this.pace === Infinity) {
      if (this.cursor.value !== last) this.cursor.value = last
    } else if (this.cursor.value < last) {
      this.phaseOfStep += seconds * this.pace
      const whole = Math.floor(this.phaseOfStep)
      if (whole > 0) {
        this.phaseOfStep -= whole
        this.cursor.value = Math.min(last, this.cursor.value + whole)
      }
    }
    if (last - this.cursor.value < NEAR) this.tellResume()
    if (!this.live && this.cursor.value >= last) this.playing.value = false
  }

  pause(): void {
    this.playing.value = false
    this.tellPause()
  }

  resume(): void {
    if (!this.live && this.cursor.value >= this.last) this.cursor.value = -1
    this.playing.value = true
    this.phaseOfStep = 0
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
    this.stepping = true
    if (this.phase.value === 'held') this.extend(1, false)
    else if (this.live) {
      this.serverPaused = true
      this.tellResume()
    } else this.stepping = false
  }

  extend(steps: number, play = true): void {
    if (!this.isOpen) return
    if (this.phase.value === 'held') {
      this.recording.reopen()
      this.phase.value = 'running'
    }
    this.channel?.tell({ type: 'extend', steps })
    if (!play) return
    this.playing.value = true
    this.tellResume()
  }

  finish(): void {
    if (this.live) this.channel?.tell({ type: 'finish' })
    this.tellResume()
    this.playing.value = true
    this.pace = Infinity
  }

  cancel(): void {
    if (!this.isOpen) return
    this.playing.value = false
    this.phase.value = 'cancelled'
    this.close()
  }

  /** Lets go of it; what is recorded stays. */
  close(): void {
    this.closed = true
    this.channel?.tell({ type: 'cancel' })
    this.channel?.close()
  }
}
