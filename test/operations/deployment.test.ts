/** The container files agree with the server and with each other. These tests do not run them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { dashboard, filesIn, read, root, yamlOf } from './documents.js'

/** Seconds that closing may take after the drain: twice CLOSING_SECONDS of src/server/listen.ts. */
const CLOSING = 10

describe('every YAML file', () => {
  const paths = filesIn('docker').filter((path) => /\.ya?ml$/.test(path))

  it.each(paths)('%s parses', (path) => {
    expect(yamlOf(path).every((document) => document !== null)).toBe(true)
  })
})

describe.each(['Dockerfile', 'docker/Dockerfile.gpu', 'docker/Dockerfile.webgpu'])('%s', (path) => {
  /** The instructions of the last stage, which is the image that runs. */
  const text = read(path)
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
  const last = text.slice(text.lastIndexOf('\nFROM ') + 1)
  const instruction = (name: string) =>
    new RegExp(`^${name} (.+)$`, 'm').exec(last)?.[1] ?? `no ${name}`

  it('runs the server without root, on all interfaces', () => {
    expect(instruction('USER')).toBe('1000:1000')
    expect(JSON.parse(instruction('ENTRYPOINT'))).toEqual(['node', 'dist/cli/main.js'])
    expect(JSON.parse(instruction('CMD'))).toEqual(['serve'])
    expect(instruction('ENV')).toMatch(/BASIN_HOST=0\.0\.0\.0 .*BASIN_PORT=8000/)
    expect(instruction('EXPOSE')).toBe('8000')
  })

  it('checks the health without a shell', async () => {
    const [, json = ''] = / CMD (\[.+\])$/.exec(instruction('HEALTHCHECK')) ?? []
    const [command = '', ...args] = JSON.parse(json) as string[]
    const asked: string[] = []
    const server = createServer(({ url = '' }, reply) => {
      asked.push(url)
      reply.writeHead(asked.length === 1 ? 200 : 503).end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const check = async () => {
      const env = { ...process.env, BASIN_PORT: String(port) }
      const [code] = (await once(spawn(command, args, { env }), 'exit')) as [number]
      return code
    }
    expect([await check(), await check()]).toEqual([0, 1])
    server.close()
    await once(server, 'close')
    expect(await check()).toBe(1)
    expect(asked).toEqual(['/health', '/health'])
  })

  it('installs the versions of the lock file', () => {
    expect(text).toContain('npm ci ')
    const gpu = /tfjs-node-gpu@(\S+)/.exec(text)?.[1]
    const { dependencies } = JSON.parse(read('package.json')) as {
      dependencies: Record<string, string>
    }
    // What prune is to leave is no package of development then: npm installs none of these, even by name.
    const kept = [...text.matchAll(/npm pkg set "dependencies\.(\w+)=/g)].map(([, name]) => name)
    const [, dropped = ''] = /npm pkg delete ((?:devDependencies\.\w+ ?)+)/.exec(text) ?? []
    expect(dropped.trim().split(' ')).toEqual(kept.map((name) => `devDependencies.${name ?? ''}`))
    expect(kept).toContain('bullmq')
    expect(text.indexOf('npm pkg delete')).toBeLessThan(text.indexOf('npm prune'))
    if (gpu !== undefined) expect(gpu).toBe(`${String(dependencies['@tensorflow/tfjs-core'])}.0`)
  })
})

interface Compose {
  services: Record<
    string,
    {
      ports?: string[]
      volumes?: string[]
      environment?: Record<string, string>
      stop_grace_period?: string
    }
  >
  volumes: Record<string, null>
}

describe.each(['docker/compose.yaml', 'docker/compose-fleet.yaml'])('%s', (path) => {
  const [compose] = yamlOf(path) as [Compose]
  const { basin, grafana } = compose.services

  it('mounts existing files, and publishes to this machine only', () => {
    for (const { ports = [], volumes = [] } of Object.values(compose.services)) {
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/)
      for (const [source = ''] of volumes.map((volume) => volume.split(':'))) {
        const known = source.startsWith('.')
          ? existsSync(join(root, 'docker', source))
          : source in compose.volumes
        expect([source, known]).toEqual([source, true])
      }
    }
  })

  it('waits for the drain before it kills the server', () => {
    const drain = Number(basin?.environment?.['BASIN_DRAIN_SECONDS'])
    expect(parseInt(basin?.stop_grace_period ?? '0')).toBeGreaterThan(drain + CLOSING)
  })

  it('gives Grafana its dashboard and its data source', () => {
    const [provider] = yamlOf('docker/grafana/provisioning/dashboards/basin.yml') as [
      { providers: { options: { path: string } }[] },
    ]
    const directory = provider.providers[0]?.options.path
    expect(grafana?.volumes).toContain(`./grafana/dashboards:${String(directory)}:ro`)
    const [source] = yamlOf('docker/grafana/provisioning/datasources/prometheus.yml') as [
      { datasources: { url: string }[] },
    ]
    const { hostname } = new URL(source.datasources[0]?.url ?? '')
    expect(Object.keys(compose.services)).toContain(hostname)
  })
})

describe('Prometheus', () => {
  interface Scraped {
    scrape_configs: {
      static_configs?: { targets: string[] }[]
      dns_sd_configs?: { names: string[]; port: number }[]
    }[]
  }
  const scraped = (name: string) => {
    const [{ scrape_configs: configs }] = yamlOf(`docker/prometheus/${name}.yml`) as [Scraped]
    return configs[0]
  }

  it('scrapes the one server, and each of several', () => {
    expect(scraped('prometheus')?.static_configs?.[0]?.targets).toEqual(['basin:8000'])
    expect(scraped('fleet')?.dns_sd_configs).toEqual([{ names: ['basin'], type: 'A', port: 8000 }])
  })
})

describe('the files of several servers', () => {
  interface Patch {
    spec: { template: { spec: { containers: { env: { name: string; value: string }[] }[] } } }
  }
  const redisIn = (url = '') => new URL(url).hostname

  it('name a Redis that is there', () => {
    const [compose] = yamlOf('docker/compose-fleet.yaml') as [Compose]
    const { basin, redis } = compose.services
    expect(basin?.environment).toMatchObject({ BASIN_FLEET: 'on' })
    expect(redisIn(basin?.environment?.['BASIN_REDIS_URL'])).toBe('redis')
    expect(redis).toBeDefined()
    const [patch] = yamlOf('docker/kubernetes-fleet/deployment.yaml') as [Patch]
    const env = patch.spec.template.spec.containers[0]?.env ?? []
    const url = env.find(({ name }) => name === 'BASIN_REDIS_URL')?.value
    const [service] = yamlOf('docker/kubernetes-fleet/redis.yaml') as [Manifest]
    expect(redisIn(url)).toBe(service.metadata.name)
  })

  it('scale on a metric that the adapter provides', () => {
    const [scaler] = yamlOf('docker/kubernetes-fleet/autoscaler.yaml') as [
      { spec: { metrics: { external?: { metric: { name: string } } }[] } },
    ]
    const [adapter] = yamlOf('docker/kubernetes-fleet/adapter-values.yaml') as [
      { rules: { external: { name: { as: string } }[] } },
    ]
    expect(scaler.spec.metrics.flatMap(({ external }) => external?.metric.name ?? [])).toEqual(
      adapter.rules.external.map(({ name }) => name.as),
    )
  })
})

describe('the dashboard', () => {
  const panels = dashboard.panels.filter(({ type }) => type !== 'row')

  it('has panels with unique names and descriptions', () => {
    for (const { description, targets, title } of panels) {
      expect([title, description !== undefined && description.length > 10]).toEqual([title, true])
      expect(targets?.length).toBeGreaterThan(0)
    }
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
  })
})

interface Manifest {
  kind: string
  metadata: { name: string }
}
interface Probe {
  httpGet: { path: string; port: string }
}
interface Deployment extends Manifest {
  spec: {
    selector: { matchLabels: object }
    template: {
      metadata: { labels: object }
      spec: {
        terminationGracePeriodSeconds: number
        containers: {
          env: { name: string; value: string }[]
          ports: { name: string; containerPort: number }[]
          resources: { limits: { cpu: string } }
          lifecycle: { preStop: { exec: { command: string[] } } }
          startupProbe: Probe
          readinessProbe: Probe
          livenessProbe: Probe
        }[]
      }
    }
  }
}

describe('the manifests', () => {
  const one = (name: string): unknown => yamlOf(`docker/kubernetes/${name}.yaml`)[0]
  const { metadata, spec } = one('deployment') as Deployment
  const pod = spec.template.spec
  const [container] = pod.containers
  const variable = (name: string) => container?.env.find((each) => each.name === name)?.value

  it('are all in the kustomization', () => {
    const { resources } = one('kustomization') as { resources: string[] }
    const apart = ['kustomization.yaml', 'adapter-values.yaml', 'scrape-config.yaml']
    const files = filesIn('docker/kubernetes').map((path) => path.split('/').at(-1))
    expect([...resources, ...apart].sort()).toEqual(files.sort())
  })

  it('select the pods that they make', () => {
    expect(spec.selector.matchLabels).toEqual(spec.template.metadata.labels)
    const service = one('service') as {
      spec: { selector: object; ports: { targetPort: string }[] }
    }
    expect(service.spec.selector).toEqual(spec.template.metadata.labels)
    expect(service.spec.ports[0]?.targetPort).toBe(container?.ports[0]?.name)
    const budget = one('disruption-budget') as { spec: { selector: object } }
    expect(budget.spec.selector).toEqual(spec.selector)
  })

  it('probe liveness and readiness at the right routes', () => {
    const ask = (probe?: Probe) => [probe?.httpGet.path, probe?.httpGet.port]
    expect(ask(container?.startupProbe)).toEqual(['/ready', 'http'])
    expect(ask(container?.readinessProbe)).toEqual(['/ready', 'http'])
    expect(ask(container?.livenessProbe)).toEqual(['/health', 'http'])
  })

  it('wait for the drain before they kill the server', () => {
    const [, pause] = container?.lifecycle.preStop.exec.command ?? []
    const drain = Number(variable('BASIN_DRAIN_SECONDS'))
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(Number(pause) + drain + CLOSING)
  })

  it('leave one core to HTTP', () => {
    const cores = Number(container?.resources.limits.cpu)
    expect(Number(variable('BASIN_THREADS'))).toBe(cores - 1)
  })

  it('scale the deployment on a metric that the adapter provides', () => {
    const scaler = one('autoscaler') as {
      spec: {
        scaleTargetRef: { kind: string; name: string }
        metrics: { pods: { metric: { name: string } } }[]
      }
    }
    expect(scaler.spec.scaleTargetRef).toMatchObject({ kind: 'Deployment', name: metadata.name })
    const adapter = one('adapter-values') as { rules: { custom: { name: { as: string } }[] } }
    expect(scaler.spec.metrics.map(({ pods }) => pods.metric.name)).toEqual(
      adapter.rules.custom.map(({ name }) => name.as),
    )
  })
})
