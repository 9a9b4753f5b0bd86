/**
 * Shows the progress of a training: a bar on a terminal, otherwise a line at intervals. Every update is
 * written to updates.jsonl and every validation to log.jsonl. A resumed run appends to them: an update that
 * was computed again after a kill is there twice, with the same figures. A last line that a kill or a full
 * disk left incomplete is removed first.
 */
import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import type { UpdateReport, ValidationReport } from '../../train/loop.js'

/** Updates between two lines if there is no terminal. */
const UPDATES_PER_LINE = 20
const updatesFile = 'updates.jsonl'
const validationsFile = 'log.jsonl'

export class TrainingView {
  private readonly bar = process.stderr.isTTY
    ? new SingleBar({
        format: '{bar} {value}/{total} | {info}',
        // A bar that stops leaves no line above what is printed next.
        clearOnComplete: true,
        hideCursor: true,
      })
    : null
  /** Seconds of training at the previous update. */
  private secondsBefore = 0

  /** `bytesPerPosition`: UTF-8 bytes of text that a predicted position stands for; 0 for JSON lines. */
  constructor(
    private readonly out: string,
    private readonly bytesPerPosition: number,
  ) {
    for (const file of [updatesFile, validationsFile]) removeIncompleteLine(join(out, file))
  }

  update(report: UpdateReport): void {
    const { update, updates, seconds, positions, losses, gradientNorm, measures } = report
    this.secondsBefore ||= seconds
    const speed = positions / (seconds - this.secondsBefore)
    this.secondsBefore = seconds
    const loss = losses.at(-1)
    const left = ((updates - update) * seconds) / update
    const info = [
      loss === undefined ? `value ${report.value.toFixed(4)}` : `loss ${this.bits(loss)}`,
      ...Object.entries(measures).map(([name, value]) => `${name} ${value.toFixed(3)}`),
      `gradient ${gradientNorm.toFixed(2)}`,
      ...(Number.isFinite(speed) ? [`${speed.toFixed(0)} positions/s`] : []),
      `ETA ${left < 100 ? `${left.toFixed(0)} s` : `${(left / 60).toFixed(0)} min`}`,
    ].join(', ')
    if (this.bar) {
      if (!this.bar.isActive) this.bar.start(updates, update, { info })
      this.bar.update(update, { info })
    } else if (update % UPDATES_PER_LINE === 0) {
      console.error(`${update}/${updates} ${seconds.toFixed(0)}s ${info}`)
    }
    const { value } = report
    this.log(updatesFile, { update, seconds, value, losses, gradientNorm, ...measures })
  }

  validation(report: ValidationReport): void {
    const { update, scores, diagnosis } = report
    this.bar?.stop()
    this.log(validationsFile, report)
    const lines = scores.map(
      (s) =>
        `${s.steps}: ${this.bits(s.nats)}, ${percent(s.accuracy)} of positions right, ${percent(s.solved)} of answers, energy ${s.energy.toFixed(3)}`,
    )
    if (diagnosis)
      lines.push(
        `energies: spread ${diagnosis.spread.toPrecision(3)}, gap ${diagnosis.gap.toPrecision(3)}, ${percent(diagnosis.ranked)} of wrong answers above the true one, calibration ${diagnosis.calibration.toFixed(2)}`,
      )
    console.error(`validation at update ${update} (steps: result)\n  ${lines.join('\n  ')}`)
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

function removeIncompleteLine(path: string): void {
  if (!existsSync(path)) return
  const written = readFileSync(path)
  const whole = written.lastIndexOf('\n') + 1
  if (whole < written.length) truncateSync(path, whole)
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
