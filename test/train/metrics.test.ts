import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import { TrainingMetrics } from '../../src/cli/output/training-metrics.js'

it('serves the metrics of a running training to Prometheus', async () => {
  const metrics = new TrainingMetrics({ model: 'm', objective: 'contrastive', backend: 'wasm' })
  const server = await metrics.listen(0, '127.0.0.1')
  const update = {
    update: 7,
    updates: 9,
    seconds: 3,
    cpuSeconds: 4,
    losses: [],
    value: 1.5,
    measures: { gap: 2.5 },
    gradientNorm: 0.5,
    positions: 64,
  }
  metrics.update(update)
  metrics.update({ ...update, update: 8, losses: [2, 1], positions: 32 })
  const score = { nats: 0.7, accuracy: 0.8, solved: 0.1, energy: -3 }
  const diagnosis = {
    spread: 0.25,
    gap: 1,
    ranked: 1,
    volume: 0,
    firstEnergy: 2,
    lastEnergy: 1,
    firstGradient: 3,
    lastGradient: 0.1,
    calibration: 0.9,
  }
  metrics.validation({
    update: 8,
    seconds: 3,
    cpuSeconds: 4,
    scores: [{ steps: 2, ...score }],
    diagnosis,
  })
  const { port } = server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  const text = await (await fetch(`${base}/metrics`)).text()
  const labels = 'model="m",objective="contrastive",backend="wasm"'
  for (const line of [
    `basin_train_updates_total{${labels}} 2`,
    `basin_train_positions_total{${labels}} 96`,
    `basin_train_update{${labels}} 8`,
    `basin_train_loss_nats{${labels}} 1`,
    `basin_train_measure_gap{${labels}} 2.5`,
    `basin_train_validation_nats{steps="2",${labels}} 0.7`,
    `basin_train_energy_spread{${labels}} 0.25`,
    `basin_train_energy_last_gradient{${labels}} 0.1`,
  ])
    expect(text).toContain(line)
  expect((await fetch(`${base}/other`)).status).toBe(404)
  server.close()
  await once(server, 'close')
})
