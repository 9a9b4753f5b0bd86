/** Metrics of a running training for Prometheus, served on a port of their own. */
import { createServer, type Server } from 'node:http'
import { Counter, Gauge, Registry } from 'prom-client'
import type { UpdateReport, ValidationReport } from '../../train/loop.js'

export class TrainingMetrics {
  readonly registry = new Registry()
  private readonly updates: Counter
  private readonly positions: Counter
  private readonly gauges = new Map<string, Gauge>()

  constructor(labels: { model: string; objective: string; backend: string }) {
    this.registry.setDefaultLabels(labels)
    this.updates = new Counter({
      name: 'basin_train_updates_total',
      help: 'Updates of this process',
      registers: [this.registry],
    })
    this.positions = new Counter({
      name: 'basin_train_positions_total',
      help: 'Predicted positions of this process',
      registers: [this.registry],
    })
  }

  update(report: UpdateReport): void {
    this.updates.inc()
    this.positions.inc(report.positions)
    this.set('update', 'Updates of the whole run so far', report.update)
    this.set('seconds', 'Seconds of training so far, before a resume included', report.seconds)
    this.set('objective_value', 'The scalar that is minimised', report.value)
    this.set('gradient_norm', 'Global gradient norm before clipping', report.gradientNorm)
    const loss = report.losses.at(-1)
    if (loss !== undefined) this.set('loss_nats', 'Cross-entropy after the last step', loss)
    for (const [name, value] of Object.entries(report.measures))
      this.set(`measure_${name}`, `A figure of the objective: ${name}`, value)
  }

  validation({ scores, diagnosis }: ValidationReport): void {
    for (const { steps, nats, accuracy, solved, energy } of scores) {
      const at = { steps: String(steps) }
      this.set('validation_nats', 'Cross-entropy of held-out answers, by steps', nats, at)
      this.set(
        'validation_accuracy_ratio',
        'Held-out positions that are right, by steps',
        accuracy,
        at,
      )
      this.set(
        'validation_solved_ratio',
        'Held-out answers that are right in every position, by steps',
        solved,
        at,
      )
      this.set('validation_energy', 'Mean energy of held-out answers, by steps', energy, at)
    }
    for (const [name, value] of Object.entries(diagnosis ?? {})) {
      const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      this.set(`energy_${snake}`, `Diagnosis of the energy: ${name}`, value as number)
    }
  }

  /** Serves GET /metrics until the server is closed. Port 0 takes any free port. */
  async listen(port: number, host: string): Promise<Server> {
    const server = createServer((request, reply) => {
      if (request.url !== '/metrics') {
        reply.writeHead(404).end()
        return
      }
      void this.registry.metrics().then((text) => {
        reply.writeHead(200, { 'content-type': this.registry.contentType }).end(text)
      })
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve)
    })
    return server
  }

  private set(
    name: string,
    help: string,
    value: number,
    labels: Record<string, string> = {},
  ): void {
    let gauge = this.gauges.get(name)
    if (!gauge) {
      gauge = new Gauge({
        name: `basin_train_${name}`,
        help,
        labelNames: Object.keys(labels),
        registers: [this.registry],
      })
      this.gauges.set(name, gauge)
    }
    gauge.set(labels, value)
  }
}
