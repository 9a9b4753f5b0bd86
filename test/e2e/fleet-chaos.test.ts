/** Servers that share a Redis while they are killed, paused and without Redis: a short `npm run fleet-chaos`. */
import { expect, it, vi } from 'vitest'
import { disturbFleet } from '../chaos/fleet-run.js'
import { findRedis } from '../support/redis.js'

vi.setConfig({ testTimeout: 600_000 })

const binary = findRedis()
const missing = typeof binary === 'string' ? binary : undefined
const why = missing ? ` (skipped: ${missing})` : ''

it.skipIf(missing)(`answers end once and whole whatever befalls their servers${why}`, async () => {
  if (typeof binary === 'string') throw new Error(binary)
  const quiet = () => undefined
  const run = await disturbFleet({
    binary,
    seconds: 20,
    answers: 30,
    interval: 6,
    seed: 1,
    say: quiet,
  })
  expect(run.violations).toEqual([])
  expect(run.kills).toBe(3)
  expect(run.takeovers).toBeGreaterThan(0)
})
