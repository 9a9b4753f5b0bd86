/**
 * A training as it goes: a bar on a terminal, a line now and then elsewhere; every
 * update goes to updates.jsonl and every validation to log.jsonl. A resumed run appends, so an update
 * that a kill undid stands there twice, with the same figures; a line that a kill or a full disk left half
 * written is cut off first.
 */
import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { UpdateReport, ValidationReport } from '../../train/loop.js'

/** Updates between lines where there is no terminal. */
const UPDATES_PER_LINE = 20
const updatesFile = 'updates.jsonl'
const validationsFile = 'log.jsonl'

export class TrainingView {
  private readonly bar = process.stderr.isTTY
    ? new SingleBar({
        format: '{bar} {value}/{total} | {info} | ETA {eta_formatted}',
        clearOnComplete: false,
        hideCursor: true,
      })
    : null
  private before = 0

  /** `bytesPerPosition`: UTF-8 bytes of text a predicted position stands for; 0 where it is no text. */
  constructor(
    private readonly out: string,
    private readonly bytesPerPosition: number,
  ) {
    for (const file of [updatesFile, validationsFile]) cutHalfLine(join(out, file))
  }

  update(report: UpdateReport): void {
    const { update, updates, seconds, positions, losses, gradientNorm, measures } = report
    this.before ||= seconds
    const speed = positions / (seconds - this.before)
    this.before = seconds
    const loss = losses.at(-1)
    const info = [
      loss === undefined ? `value ${report.value.toFixed(4)}` : `loss ${this.bits(loss)}`,
      ...Object.entries(measures).map(([name, value]) => `${name} ${value.toFixed(3)}`),
      `gradient ${gradientNorm.toFixed(2)}`,
      ...(Number.isFinite(speed) ? [`${speed.toFixed(0)} positions/s`] : []),
    ].join(', ')
    if (this.bar) {
      if (!this.bar.isActive) this.bar.start(updates, update, { info })
      this.bar.update(update, { info })
    } else if (update % UPDATES_PER_LINE === 0) {
      const eta = ((updates - update) * seconds) / update / 60
      console.error(
        `${update}/${updates} ${seconds.toFixed(0)}s ${info}, ETA ${eta.toFixed(0)} min`,
      )
    }
    const { value } = report
    this.log(updatesFile, { update, seconds, value, losses, gradientNorm, ...measures })
  }

  validation(report: ValidationReport): void {
    const { update, scores, diagnosis } = report
    this.log(validationsFile, report)
    const lines = scores.map(
      (s) =>
        `${s.steps}: ${this.bits(s.nats)}, ${percent(s.accuracy)} right, ${percent(s.solved)} whole, E ${s.energy.toFixed(3)}`,
    )
    if (diagnosis)
      lines.push(
        `energies: spread ${diagnosis.spread.toPrecision(3)}, gap ${diagnosis.gap.toPrecision(3)}, ${percent(diagnosis.ranked)} of wrong answers above the true one, calibration ${diagnosis.calibration.toFixed(2)}`,
      )
    console.error(`\nvalidation at update ${update} (steps: result)\n  ${lines.join('\n  ')}`)
  }

  close(): void {
    this.bar?.stop()
  }

  private log(file: string, entry: object): void {
    appendFileSync(join(this.out, file), `${JSON.stringify(entry)}\n`)
  }

  private bits(nats: number): string {
    const perByte =
      this.bytesPerPosition > 0
        ? ` ${(nats / Math.LN2 / this.bytesPerPosition).toFixed(3)} bits/byte`
        : ''
    return `${nats.toFixed(4)} nats${perByte}`
  }
}

function cutHalfLine(path: string): void {
  if (!existsSync(path)) return
  const written = readFileSync(path)
  const whole = written.lastIndexOf('\n') + 1
  if (whole < written.length) truncateSync(path, whole)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
