/**
 * Writes to a store from several jobs at once while files of this process may grow no further for moments, as on
 * a full disk. Prints how many writes were stored, refused, and never settled. Arguments: the built store, a folder.
 */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const [module, folder] = process.argv.slice(2)
const { LmdbStore } = await import(module)
const store = LmdbStore.open(folder, Infinity)
const limitFiles = (bytes) =>
  spawnSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`])
const JOBS = 8
const ROUNDS = 12
const PATIENCE_MS = 10_000
const counts = { stored: 0, refused: 0, unsettled: 0 }
let over = false

async function writeEvents(id, length) {
  let from = 0
  while (!over) {
    const record = from % 7 === 0 ? { id, expires: null, from } : undefined
    const outcome = await Promise.race([
      store.write(id, { record, from, events: [JSON.stringify('x'.repeat(length))] }).then(
        () => 'stored',
        () => 'refused',
      ),
      wait(PATIENCE_MS, 'unsettled', { ref: false }),
    ])
    counts[outcome]++
    if (outcome === 'unsettled') return
    if (outcome === 'stored') from++
    await wait(10 * Math.random())
  }
}

const jobs = Array.from({ length: JOBS }, (_, i) => writeEvents(`job${i}`, 300 + 50 * i))
for (let round = 0; round < ROUNDS; round++) {
  limitFiles(statSync(join(folder, 'data.mdb')).size)
  await wait(100 + 200 * Math.random())
  limitFiles('unlimited')
  await wait(200 * Math.random())
}
over = true
await Promise.all(jobs)
console.log(JSON.stringify(counts))
process.exit()
