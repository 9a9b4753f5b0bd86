/** Metrics, flags, variables, alerts, paths, ports and periods that the operator's files name exist. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { registerConfig } from '../../src/cli/commands/config-command.js'
import { registerServe } from '../../src/cli/commands/serve-command.js'
import { defaultLimits } from '../../src/server/limits.js'
import { Metrics } from '../../src/server/metrics/metrics.js'
import { alerts, filesIn, read, root } from './documents.js'

const page = 'docs/operating.md'
const manual = read(page)

interface Described {
  name: string
  help: string
  type: string
  labelNames: string[]
}
const metrics = new Metrics('').registry.getMetricsAsArray() as unknown as Described[]

const ownFirst = ({ name }: Described) => (/^basin_(process|nodejs)_/.test(name) ? 1 : 0)

const reference = (): string => {
  const rows = [...metrics]
    .sort((a, b) => ownFirst(a) - ownFirst(b))
    .map(({ help, labelNames, name, type }) => {
      const labels = labelNames.filter((label) => label !== 'le').map((label) => `\`${label}\``)
      return `| \`${name}\` | ${type} | ${labels.join(', ')} | ${help} |`
    })
  return [
    '# Metrics',
    '',
    'What `/metrics` shows. Units are seconds, bytes, tokens and steps; energies have none. Labels are bounded: a model,',
    'an engine, a route, a reason; never a text, an id or an address. Counters that alerts watch exist from the start, at 0.',
    'Prefix-cache queries and hits, preemptions and cache usage mean what they mean for vLLM.',
    '',
    'This page is made by `npx vitest run test/operations -u`, which every other run compares it with.',
    '',
    '| metric | type | labels | meaning |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

const operatorsFiles = [
  'Dockerfile',
  page,
  ...filesIn('docker').filter((path) => !path.endsWith('.json')),
]
const everyFile = [...operatorsFiles, ...filesIn('docker').filter((path) => path.endsWith('.json'))]

/** Everything that `pattern` captures in these files, without repetition. */
const named = (files: readonly string[], pattern: RegExp): string[] => [
  ...new Set(
    files.flatMap((path) => [...read(path).matchAll(pattern)].map(([, name]) => name ?? '')),
  ),
]

const serve = () => {
  const program = new Command()
  registerServe(program)
  registerConfig(program)
  const [command] = program.commands
  if (!command) throw new Error('no serve')
  return command.options
}

describe('metrics', () => {
  it('are all described in docs/metrics.md', async () => {
    await expect(reference()).toMatchFileSnapshot('../../docs/metrics.md')
  })

  it('exist wherever a file names them', () => {
    const known = new Set(metrics.map(({ name }) => name))
    // The name that the autoscaler's rule gives to a metric, and those of recording rules.
    known.add('basin_requests_waiting')
    known.add('basin_fleet_waiting')
    const asked = named(everyFile, /(?<![\w:])(basin_\w+)/g)
    expect(asked.length).toBeGreaterThan(30)
    const groups = /^basin_(load|speed|answers|failures|alerts)$/
    const base = (name: string) => name.replace(/_(bucket|sum|count)$/, '')
    expect(
      asked.filter((name) => !known.has(name) && !known.has(base(name)) && !groups.test(name)),
    ).toEqual([])
  })

  it('recorded by rules exist wherever a file names them', () => {
    const recorded = new Set(named(['docker/prometheus/rules/recording.yml'], /record: (\S+)/g))
    const asked = named(everyFile, /(\bjob\w*:\w+:\w+)/g)
    expect(asked.filter((name) => !recorded.has(name))).toEqual([])
  })
})

describe('flags and variables', () => {
  const rows = [
    ...manual.matchAll(/^\| `(--[a-z-]+)` \| `((?:BASIN|OTEL)_\w+)` \| (.+?) \|/gm),
  ].map(([, flag, variable, value]) => ({ flag, variable, value }))

  it('of serve are all in the table of limits, and no others', () => {
    expect(rows.map(({ flag, variable }) => [flag, variable])).toEqual(
      serve().map(({ envVar, long }) => [long, envVar]),
    )
  })

  it('have the defaults of the table', () => {
    const dependent = ['--models', '--model', '--threads', '--pages', '--config']
    for (const { flag, value } of rows) {
      if (flag === undefined || dependent.includes(flag)) continue
      const option = serve().find(({ long }) => long === flag)
      const initial = option?.defaultValue as string | number | undefined
      const said = initial === undefined ? 'none' : `\`${String(initial)}\``
      expect([flag, value]).toEqual([flag, said])
    }
  })

  it('exist wherever a file names them', () => {
    const options = serve()
    const variables = named(operatorsFiles, /\b(BASIN_[A-Z_]+)/g)
    expect(variables.length).toBeGreaterThan(10)
    const known = options.map(({ envVar }) => envVar)
    expect(variables.filter((name) => !known.includes(name))).toEqual([])
    const flags = named([page], /`(--[a-z][a-z-]+)/g)
    expect(flags.filter((flag) => !options.some(({ long }) => long === flag))).toEqual([])
  })

  it('have the fixed values that the text gives', () => {
    const { bodyBytes, caps, choices, frameBytes, heartbeatSeconds, requestSeconds } = defaultLimits
    const [text = ''] = /^Fixed: [^]+?\n\n/m.exec(manual) ?? []
    expect(text.replaceAll('\n', ' ')).toMatch(
      new RegExp(
        `body has at most ${bodyBytes / 2 ** 20} MiB.+frame ${frameBytes / 2 ** 20} MiB.+` +
          `${choices} choices.+${caps.candidates} candidates.+within ${requestSeconds} s.+` +
          `pinged every ${heartbeatSeconds} s`,
      ),
    )
  })
})

describe('alerts', () => {
  it('have one section each on what to do, and every section has an alert', () => {
    const sections = [...manual.matchAll(/^### (Basin\w+)$/gm)].map(([, name]) => name)
    expect(sections).toEqual(alerts.map(({ alert }) => alert))
    for (const { alert, annotations } of alerts) {
      expect(annotations.runbook).toBe(`${page}#${alert.toLowerCase()}`)
    }
  })

  it('refer to panels that exist', () => {
    const { panels } = JSON.parse(read('docker/grafana/dashboards/basin.json')) as {
      panels: { title: string }[]
    }
    const titles = new Set(panels.map(({ title }) => title))
    const section = manual.slice(
      manual.indexOf('## Monitoring and alerts'),
      manual.indexOf('## Stopping'),
    )
    const quoted = [...section.matchAll(/`([A-Z][A-Za-z, ]+)`/g)].map(([, title]) => title ?? '')
    expect(quoted.length).toBeGreaterThan(8)
    expect(quoted.filter((title) => !titles.has(title))).toEqual([])
  })
})

describe('links', () => {
  it('lead to files and sections that exist', () => {
    const anchors = [...manual.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    )
    const targets = [...manual.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target ?? '')
    const broken = targets.filter((target) => {
      if (target.startsWith('https:')) return false
      if (target.startsWith('#')) return !anchors.includes(target.slice(1))
      return !existsSync(join(root, dirname(page), target.replace(/#.*/, '')))
    })
    expect(broken).toEqual([])
  })
})
