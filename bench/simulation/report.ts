/** What a simulation found, as lines of text. */
import type { FleetReport, KindReport } from './fleet.js'
import type { Distribution } from './statistics.js'

export const percent = (part: number, whole: number, digits = 1): string =>
  whole === 0 ? '-' : `${((100 * part) / whole).toFixed(digits)} %`

/** To three digits. What divides by nothing is a dash. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-'
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}

/** Mean, median and 99th percentile. */
export const quantiles = (seconds: Distribution): string =>
  [seconds.mean, seconds.quantile(0.5), seconds.quantile(0.99)].map(short).join(' / ')

/** Of all kinds together. */
export const totals = (report: FleetReport): Omit<KindReport, 'queue' | 'latency'> => {
  const sum = { arrived: 0, finished: 0, right: 0, refused: 0, lost: 0, steps: 0 }
  for (const kind of report.kinds.values()) {
    sum.arrived += kind.arrived
    sum.finished += kind.finished
    sum.right += kind.right
    sum.refused += kind.refused
    sum.lost += kind.lost
    sum.steps += kind.steps
  }
  return sum
}

/** Share of the replicas' time in which their engines computed. */
export const utilisation = ({ replicaSeconds, work }: FleetReport): number =>
  work.busy / replicaSeconds

export function linesOf(report: FleetReport, slots: number): string[] {
  const { failures, lostSteps, mostReplicas, moved, replicaSeconds, seconds, work } = report
  const all = totals(report)
  const { arrived, finished, lost, refused, right } = all
  const rows = [...report.kinds].map(([name, kind]) =>
    [
      name,
      kind.arrived,
      percent(kind.right, kind.finished),
      short(kind.steps / Math.max(1, kind.finished)),
      kind.right === 0 ? '-' : short(kind.steps / kind.right),
      quantiles(kind.queue),
      quantiles(kind.latency),
      kind.refused,
      kind.lost,
    ].join(' | '),
  )
  return [
    `${arrived} requests in ${short(seconds)} s: ${finished} answered (${short(finished / seconds)} a second), ` +
      `${percent(right, finished)} right, ${refused} refused, ${lost} lost`,
    `up to ${mostReplicas} replicas, ${short(replicaSeconds)} replica seconds: engines busy ` +
      `${percent(work.busy, replicaSeconds)}, slots in use ${percent(work.slotSeconds, slots * replicaSeconds)}`,
    `queue ${quantiles(report.queue)} s, latency ${quantiles(report.latency)} s (mean / median / p99)`,
    `cost of a right answer: ${short(work.steps / right)} steps, ${short(replicaSeconds / right)} replica seconds`,
    ...(failures > 0 || moved > 0
      ? [
          `${failures} failures: ${moved} background requests went on elsewhere, ` +
            `${percent(lostSteps, work.steps, 3)} of all steps lost`,
        ]
      : []),
    '',
    '| kind | requests | right | steps | steps for each right | queue, s | latency, s | refused | lost |',
    '|---|---|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row} |`),
  ]
}
