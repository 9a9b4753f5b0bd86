/** The files that an operator deploys, read as what they are. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Of every file below a folder, from the root. */
export const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort()

/** Every document of a YAML file. Throws on what YAML forbids, duplicate keys among it. */
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
 * The figures that an alert compares with numbers: what is left of each comparison. An alert that does
 * not fire returns nothing, and neither does one on a name that does not exist.
 */
export function figuresOf(expr: string): string[] {
  return expr.split(/\s+and(?:\s+on\s*\([^)]*\))?\s+/).map((comparison) => {
    const [, figure] = /^(.+?)\s*(?:==|<=|>=|<|>)\s*-?[0-9.]+$/s.exec(comparison.trim()) ?? []
    if (figure === undefined) throw new Error(`not a figure compared with a number: ${comparison}`)
    return figure
  })
}
