/**
 * How many replicas there are to be, by the depth of their queues: what Kubernetes makes of the manifest
 * `docker/kubernetes/autoscaler.yaml`, which is read here so that a simulation goes by the same rule. A pure function
 * of the present and of what was recommended before. Source: the page "Horizontal Pod Autoscaling" of Kubernetes.
 */
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

export interface ScalingRule {
  least: number
  most: number
  /** Requests that wait for each replica. */
  target: number
  /** Seconds for which no lower, or higher, number was recommended before replicas are added, or removed. */
  upAfter: number
  downAfter: number
  /** Replicas that are removed at a time, and the seconds between. */
  downBy: number
  downEvery: number
}

/** Seconds between two looks at the metric, and the share by which it may miss the target: those of Kubernetes. */
export const LOOK_SECONDS = 15
const TOLERANCE = 0.1
/** Kubernetes adds in 15 seconds as many as there are, or this many where that is more. */
const LEAST_ADDED = 4

interface Manifest {
  spec: {
    minReplicas: number
    maxReplicas: number
    metrics: { pods: { target: { averageValue: string } } }[]
    behavior: {
      scaleUp: { stabilizationWindowSeconds: number }
      scaleDown: {
        stabilizationWindowSeconds: number
        policies: { value: number; periodSeconds: number }[]
      }
    }
  }
}

export function readScalingRule(path: string): ScalingRule {
  const { spec } = parse(readFileSync(path, 'utf8')) as Manifest
  const [metric] = spec.metrics
  const { scaleDown, scaleUp } = spec.behavior
  const [policy] = scaleDown.policies
  if (!metric || !policy) throw new RangeError(`${path} has no metric or no policy of scaling down`)
  return {
    least: spec.minReplicas,
    most: spec.maxReplicas,
    target: Number(metric.pods.target.averageValue),
    upAfter: scaleUp.stabilizationWindowSeconds,
    downAfter: scaleDown.stabilizationWindowSeconds,
    downBy: policy.value,
    downEvery: policy.periodSeconds,
  }
}

/** What was recommended, and when. */
export interface Recommendation {
  at: number
  replicas: number
}

/** What the metric alone asks for. `waiting`: requests, mean of the replicas. */
export function recommended(rule: ScalingRule, present: number, waiting: number): number {
  const ratio = waiting / rule.target
  const wanted = Math.abs(ratio - 1) <= TOLERANCE ? present : Math.ceil(present * ratio)
  return Math.min(rule.most, Math.max(rule.least, wanted))
}

/**
 * How many there are to be. `history`: recommendations until now, this one included. `removedAt`: when replicas were
 * last removed.
 */
export function scaled(
  rule: ScalingRule,
  present: number,
  history: readonly Recommendation[],
  now: number,
  removedAt: number,
): number {
  const within = (seconds: number) =>
    history.filter(({ at }) => at >= now - seconds).map(({ replicas }) => replicas)
  const up = Math.min(...within(rule.upAfter))
  if (up > present) return Math.min(up, present + Math.max(present, LEAST_ADDED))
  const down = Math.max(...within(rule.downAfter))
  const mayRemove = now - removedAt >= rule.downEvery
  return down < present && mayRemove ? Math.max(down, present - rule.downBy) : present
}
