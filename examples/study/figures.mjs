/** The figures that docs/thinking.md is drawn from: a list of records in a file of docs/thinking/. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

/** Keeps `found` in place of the record that `isSame` recognizes, else behind the others. */
export function keepFigures(file, found, isSame) {
  const path = new URL(`../../docs/thinking/${file}`, import.meta.url).pathname
  const all = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : []
  const at = all.findIndex(isSame)
  all.splice(at < 0 ? all.length : at, at < 0 ? 0 : 1, found)
  writeFileSync(path, `${JSON.stringify(all, null, 2)}\n`)
}
