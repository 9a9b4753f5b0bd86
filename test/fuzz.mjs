/**
 * Runs a fuzzer for as long as is asked:
 *
 *   npm run fuzz -- http --count 100000 --seed 7
 *   npm run fuzz -- frames --count 20000 --seed 7
 *
 * The same seed makes the same inputs. The suite runs both with a small count.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const files = { http: 'test/e2e/fuzz.test.ts', frames: 'test/e2e/fuzz-frames.test.ts' }

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { count: { type: 'string' }, seed: { type: 'string' } },
})
const chosen = positionals.length > 0 ? positionals : Object.keys(files)
const isNumber = (text) => text === undefined || /^\d+$/.test(text)
if (!chosen.every((name) => name in files) || !isNumber(values.count) || !isNumber(values.seed)) {
  console.error('usage: npm run fuzz -- [http] [frames] [--count N] [--seed N]')
  process.exit(2)
}
const env = { ...process.env }
if (values.count) env.BASIN_FUZZ_COUNT = values.count
if (values.seed) env.BASIN_FUZZ_SEED = values.seed
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
const paths = chosen.map((name) => files[name])
const args = ['run', ...paths, '--disable-console-intercept']
const { status } = spawnSync(process.execPath, [vitest, ...args], { env, stdio: 'inherit' })
process.exit(status ?? 1)
