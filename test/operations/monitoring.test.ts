/**
 * A real Prometheus scrapes a real server under a small load: every panel and every rule has data, and
 * promtool accepts all files.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { stringify } from 'yaml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { alerts, dashboard, figuresOf, root, substituted, yamlOf } from './documents.js'
import { Server, writeModels } from '../support/process.js'
import { oneRound } from './load.js'
import { freePort } from '../support/free-port.js'
import { findPrometheus, Prometheus, type Sample } from './prometheus.js'

const binaries = findPrometheus()
const missing = typeof binaries === 'string' ? binaries : undefined

interface ScrapeConfig {
  global: object
  rule_files: string[]
  scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[]
}

interface AdapterValues {
  rules: { custom: { metricsQuery: string }[] }
}

/** The shipped configuration with a shorter interval and the addresses of these two processes. */
function scrapeConfig(server: string, prometheus: string): ScrapeConfig {
  const [shipped] = yamlOf('docker/prometheus/prometheus.yml') as ScrapeConfig[]
  if (!shipped) throw new Error('no scrape configuration')
  const target = { basin: server, prometheus } as Record<string, string>
  return {
    ...shipped,
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: shipped.rule_files.map((path) => join(root, 'docker/prometheus', path)),
    scrape_configs: shipped.scrape_configs.map((job) => ({
      ...job,
      static_configs: [{ targets: [target[job.job_name] ?? ''] }],
    })),
  }
}

describe.skipIf(missing)(`monitoring${missing ? ` (skipped: ${missing})` : ''}`, () => {
  /** The whole output of promtool when it fails. */
  const objections = (args: readonly string[], input = ''): string => {
    if (typeof binaries === 'string') throw new Error(binaries)
    const { status, stderr, stdout } = spawnSync(binaries.promtool, args, {
      cwd: root,
      encoding: 'utf8',
      input,
    })
    return status === 0 ? '' : `${String(status)}: ${stdout}${stderr}`
  }
  const rules = ['recording', 'alerts'].map((name) => `docker/prometheus/rules/${name}.yml`)

  describe('promtool', () => {
    it('accepts the configuration and the rules', () => {
      expect(objections(['check', 'config', 'docker/prometheus/prometheus.yml'])).toBe('')
      expect(objections(['check', 'rules', '--lint=all', '--lint-fatal', ...rules])).toBe('')
    })

    it('finds that each alert fires in its case and not otherwise', () => {
      expect(objections(['test', 'rules', 'test/operations/alerts.yml'])).toBe('')
    })
  })

  describe('a scraped server', () => {
    let directory: string
    let models: string
    let server: Server
    let prometheus: Prometheus
    let loaded: Promise<void>
    let stopped = false

    beforeAll(async () => {
      if (typeof binaries === 'string') return
      directory = mkdtempSync(join(tmpdir(), 'basin-monitoring-'))
      models = writeModels()
      server = await Server.start(models, '--log-level', 'silent')
      const port = await freePort()
      const config = join(directory, 'prometheus.yml')
      const { host } = new URL(server.url)
      writeFileSync(config, stringify(scrapeConfig(host, `127.0.0.1:${port}`)))
      prometheus = Prometheus.start(binaries, config, join(directory, 'data'), port)
      loaded = load()
    })

    afterAll(async () => {
      stopped = true
      await loaded
      await Promise.all([prometheus.close(), server.stop()])
      for (const path of [directory, models]) rmSync(path, { recursive: true })
    })

    const load = async () => {
      while (!stopped) await oneRound(server)
    }

    const isFigure = ({ value }: Sample) => Number.isFinite(Number(value[1]))

    /** The queries that still have no finite value at the end of the time limit. */
    const withoutData = async (queries: readonly string[]): Promise<string[]> => {
      const deadline = performance.now() + 40_000
      let empty = queries
      while (empty.length > 0 && performance.now() < deadline) {
        const answers = await Promise.all(
          empty.map(async (query) => ({ query, samples: await prometheus.query(query) })),
        )
        empty = answers.flatMap(({ query, samples }) => (samples.some(isFigure) ? [] : [query]))
        if (empty.length > 0) await pause(250)
      }
      return [...empty]
    }

    it('has data for every query of the dashboard', async () => {
      const queries = dashboard.panels.flatMap(({ targets = [] }) =>
        targets.map(({ expr }) => substituted(expr)),
      )
      expect(queries.length).toBeGreaterThan(30)
      expect(await withoutData(queries)).toEqual([])
    })

    it('has values for the variables of the dashboard', async () => {
      const values = dashboard.templating.list.flatMap(({ definition, name }) => {
        const series = /^label_values\((.+), \w+\)$/.exec(definition ?? '')?.[1]
        return series ? [`count by (${name}) (${series})`] : []
      })
      expect(values).toHaveLength(2)
      expect(await withoutData(values)).toEqual([])
    })

    it('has data for the autoscaler', async () => {
      const [values] = yamlOf('docker/kubernetes/adapter-values.yaml') as AdapterValues[]
      const queries = (values?.rules.custom ?? []).map(({ metricsQuery }) =>
        metricsQuery
          .replace('<<.GroupBy>>', 'instance')
          .replace('<<.Series>>', 'basin_requests')
          .replace('<<.LabelMatchers>>', 'job="basin"'),
      )
      expect(queries).toHaveLength(1)
      expect(await withoutData(queries)).toEqual([])
    })

    it('has data for every rule, and no rule fails', async () => {
      const recorded = (await prometheus.rules()).filter(({ type }) => type === 'recording')
      expect(recorded.length).toBeGreaterThan(10)
      expect(await withoutData(recorded.map(({ name }) => name))).toEqual([])
      expect(await withoutData(alerts.flatMap(({ expr }) => figuresOf(expr)))).toEqual([])
      const unhealthy = (await prometheus.rules()).filter(({ health }) => health !== 'ok')
      expect(unhealthy).toEqual([])
    })

    it('names its metrics as Prometheus advises', async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      expect(objections(['check', 'metrics'], text)).toBe('')
    })
  })
})
