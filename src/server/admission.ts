/**
 * Between what is asked and what runs: what it may cost at most, what its client may still use, and
 * whether there is room. All jobs of a request are taken, or none.
 */
import { BasinError } from '../errors.js'
import type { Generation, Run } from '../generation/client.js'
import type { Job, JobEvent } from '../generation/protocol.js'
import type { ModelConfig } from '../model/config.js'
import type { Limits } from './limits.js'
import type { Metrics } from './metrics/metrics.js'
import type { Quotas } from './quotas.js'
import { cancelAll, type Ledger } from './runs.js'
import type { ServedModels } from './served.js'
import type { Traces } from './tracing.js'

type Asked = Omit<Job, 'id'>

/** Steps of all candidates and answers, if none ends early. */
function costOf(job: Asked, { answer }: ModelConfig, mostSteps: number): number {
  const given = job.given?.by === 'logprobs' ? job.given.answer.length : 0
  const tokens = (job.template?.length ?? job.maxTokens) + given
  const { candidates, maxSteps = mostSteps } = job.budget
  // A look at the landscape costs as much as a step.
  const lines = job.survey ? job.survey.points * (candidates + job.survey.random) : 0
  const plane = job.survey?.plane ? job.survey.plane.points ** 2 + maxSteps : 0
  const looks = lines + plane
  return Math.ceil(tokens / answer.block) * candidates * maxSteps + looks
}

export class Admission {
  constructor(
    private readonly models: ServedModels,
    private readonly limits: Limits,
    private readonly quotas: Quotas,
    private readonly metrics: Metrics,
    private readonly traces: Traces,
  ) {}

  /** Throws `out_of_range`, `rate_limited`, `limits_unavailable`, and what `Generation.submit` throws. */
  async submit(generation: Generation, jobs: readonly Asked[]): Promise<Run[]> {
    this.checkCost(generation.model, jobs)
    const clients = new Set(jobs.map((job) => job.client))
    for (const client of clients) await this.quotas.enter(client)
    for (const client of clients) {
      let running = 0
      for (const each of this.models.byName.values()) running += each.outstandingOf(client)
      this.quotas.crowd(running, jobs.length)
    }
    const runs: Run[] = []
    try {
      for (const job of jobs) runs.push(generation.submit(job))
    } catch (error) {
      cancelAll(runs)
      throw error
    }
    return runs
  }

  /** Where what happens to one run is entered: in metrics, traces, and on its client's account. */
  ledger(generation: Generation, client: string, route: string): Ledger {
    const account = this.metrics.account(generation.model.name, route)
    const spans = this.traces.run(generation.model.name, route)
    return {
      take: (event: JobEvent) => {
        account.take(event)
        spans?.take(event)
        this.quotas.take(client, event)
      },
    }
  }

  private checkCost(model: ModelConfig, jobs: readonly Asked[]): void {
    const { caps, steps } = this.limits
    const cost = jobs.reduce((sum, job) => sum + costOf(job, model, caps.maxSteps), 0)
    if (cost <= steps) return
    throw new BasinError('out_of_range', {
      param: 'refinement',
      bound: `such that choices x candidates x answers x steps are at most ${steps}`,
      value: cost,
    })
  }
}
