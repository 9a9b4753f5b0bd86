/** A reader of a stored response who asks again wherever the stream breaks, and notes every event it gets. */
import { setTimeout as wait } from 'node:timers/promises'
import { type Event, eventsOf, isEnd, responseOf, type Spec, type World } from './world.js'

const GIVE_UP_MS = 120_000

export class Follower {
  readonly seen: Event[] = []
  id = ''
  /** How the server refused to go on with it, such as `410`. */
  refused: number | undefined
  readonly done: Promise<void>

  constructor(
    private readonly world: World,
    readonly spec: Spec,
  ) {
    this.done = this.follow()
  }

  get text(): string {
    return this.seen.map(({ delta }) => delta ?? '').join('')
  }

  get ended(): boolean {
    return this.seen.some(isEnd)
  }

  /** What is wrong with what was seen; empty if nothing is. */
  faults(expected: string): string[] {
    const faults: string[] = []
    const name = `response ${this.id} (seed ${this.spec.seed})`
    const numbers = this.seen.map((event) => event.sequence_number)
    const gap = numbers.findIndex((number, i) => number !== i)
    if (gap >= 0) faults.push(`${name}: event ${gap} has number ${String(numbers[gap])}`)
    const ends = this.seen.filter(isEnd)
    const why = this.refused === undefined ? '' : `, and it was refused with ${this.refused}`
    if (ends.length !== 1) faults.push(`${name}: ${ends.length} endings${why}`)
    else if (!isEnd(this.seen.at(-1) as Event)) faults.push(`${name}: events after its end`)
    else if (ends[0]?.type === 'response.failed') faults.push(`${name}: failed`)
    else if (this.text !== expected)
      faults.push(`${name}: text ${this.text}, undisturbed ${expected}`)
    return faults
  }

  private async follow(): Promise<void> {
    const end = performance.now() + GIVE_UP_MS
    while (!this.ended && this.refused === undefined && performance.now() < end) {
      try {
        await this.read(await this.open())
      } catch {
        // The server is down or stopped.
      }
      await wait(200)
    }
  }

  private open(): Promise<Response> {
    const { keys } = this.world
    if (this.id === '') return this.world.post(keys.other, '/v1/responses', responseOf(this.spec))
    const after = this.seen.at(-1)?.sequence_number ?? -1
    return this.world.fetch(
      keys.other,
      `/v1/responses/${this.id}?stream=true&starting_after=${after}`,
    )
  }

  private async read(reply: Response): Promise<void> {
    if (!reply.ok) {
      // Refused for now, or for ever.
      if (reply.status === 410 || reply.status === 404) this.refused = reply.status
      await reply.body?.cancel()
      return
    }
    for await (const event of eventsOf(reply)) {
      if (this.id === '') this.id = event.response?.id ?? ''
      this.seen.push(event)
    }
  }
}
