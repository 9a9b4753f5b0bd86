/** Reads the files that an operator deploys: YAML, rules, dashboards. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Paths of all files below a folder, relative to the root. */
export const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort()

/** All documents of a YAML file. Throws on invalid YAML, for example duplicate keys. */
export function yamlOf(path: string): unknown[] {
  return parseAllDocuments(read(path)).map((document) => {
    const [problem] = [...document.errors, ...document.warnings]
    if (problem) throw new Error(`${path}: ${problem.message}`)
    return document.toJS() as unknown
  })
}

interface Target {
  refId: string
  expr: string
}

export interface Panel {
  id: number
  type: string
  title: string
  description?: string
  targets?: Target[]
}

export interface Dashboard {
  uid: string
  panels: Panel[]
  templating: { list: { name: string; definition?: string }[] }
}

export const dashboard = JSON.parse(read('docker/grafana/dashboards/basin.json')) as Dashboard

/** A query of the dashboard as Grafana would send it, with everything selected. */
export const substituted = (expr: string): string =>
  expr
    .replaceAll('$__rate_interval', '30s')
    .replaceAll('$__range', '1m')
    .replaceAll('$model', '.*')
    .replaceAll('$instance', '.*')

export interface AlertRule {
  alert: string
  expr: string
  annotations: { summary: string; runbook: string }
}

interface RuleFile {
  groups: { rules: ({ record: string; expr: string } | AlertRule)[] }[]
}

const rulesIn = (path: string) =>
  yamlOf(path).flatMap((file) => (file as RuleFile).groups.flatMap(({ rules }) => rules))

export const alerts = rulesIn('docker/prometheus/rules/alerts.yml').filter(
  (rule): rule is AlertRule => 'alert' in rule,
)

/**
 * The left sides of the comparisons in an alert. Their values can be queried; the alert itself returns
 * nothing both when it does not fire and when it names a metric that does not exist.
 */
export function figuresOf(expr: string): string[] {
  return expr.split(/\s+and(?:\s+on\s*\([^)]*\))?\s+/).map((comparison) => {
    const [, figure] = /^(.+?)\s*(?:==|<=|>=|<|>)\s*-?[0-9.]+$/s.exec(comparison.trim()) ?? []
    if (figure === undefined) throw new Error(`not a figure compared with a number: ${comparison}`)
    return figure
  })
}
