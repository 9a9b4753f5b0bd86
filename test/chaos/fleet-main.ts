/**
 * `npm run fleet-chaos`: servers that share a Redis, killed one after another (fleet-run.ts). Prints what was seen,
 * and how much of an answer was lost at a kill; ends with 1 if anything was violated.
 */
import { parseArgs } from 'node:util'
import { findRedis } from '../support/redis.js'
import { disturbFleet } from './fleet-run.js'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    answers: { type: 'string', default: '200' },
    interval: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
  },
})
const [seconds, answers, interval, seed] = [
  values.seconds,
  values.answers,
  values.interval,
  values.seed,
].map(Number) as [number, number, number, number]
if (![seconds, answers, interval].every((value) => value > 0) || !Number.isInteger(seed)) {
  console.error('npm run fleet-chaos -- --seconds N --answers N --interval N --seed N: numbers > 0')
  process.exit(2)
}
const binary = findRedis()
if (typeof binary === 'string') {
  console.error(`there is no redis-server: ${binary}`)
  process.exit(2)
}
const run = await disturbFleet({
  binary,
  seconds,
  answers,
  interval,
  seed,
  say: (line) => {
    console.log(line)
  },
})
for (const violation of run.violations) console.log(`  ${violation}`)
console.log(
  `fleet-chaos: ${run.answers} answers in ${run.seconds.toFixed(0)} s, ${run.kills} kills, ` +
    `${run.takeovers} taken over, at a kill at most ${run.mostSteps} steps of an answer ` +
    `(${run.mostSeconds.toFixed(2)} s) to be computed again, ${run.violations.length} violations, seed ${seed}`,
)
process.exit(run.violations.length > 0 ? 1 : 0)
