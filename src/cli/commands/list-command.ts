/** `basin list`: the models of a folder. `basin ps`: what a running server has in memory and does. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { weightsFile } from '../../model/checkpoint.js'
import { scanModels } from '../../library/model-folder.js'
import { keyOption } from '../options/answer-options.js'
import { shippedModels } from '../../library/package.js'

export function registerList(program: Command): void {
  program
    .command('list')
    .description('the models of a folder')
    .argument('[directory]', 'where the models are', shippedModels)
    .action(list)
  program
    .command('ps')
    .description('the models of a running server, and what it does')
    .argument('[url]', 'of the server', 'http://127.0.0.1:8000')
    .addOption(keyOption())
    .action(processes)
}

/** Columns as wide as their longest entry. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
        // Whole lines where they go to a file.
        .slice(0, process.stdout.isTTY ? process.stdout.columns : undefined),
    )
    .join('\n')
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

function list(root: string): void {
  const { found, skipped } = scanModels(root)
  for (const { directory, reason } of skipped) console.error(`skipped ${directory}: ${reason}`)
  const rows = found.map(({ directory, model: { description, name, steps, template } }) => {
    const kind = template ? (template.layout?.kind ?? 'template') : 'text'
    const bytes = statSync(join(directory, weightsFile)).size
    return [name, kind, `${String(steps)} steps`, mib(bytes), description]
  })
  console.log(table([['NAME', 'ANSWERS', 'BUDGET', 'WEIGHTS', 'DESCRIPTION'], ...rows]))
}

/** Of a metric and a model: the sum of its samples with these labels. */
function figureOf(metrics: string, name: string, model: string, label = ''): number {
  return metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(`model="${model}"`))
    .filter((line) => line.includes(label))
    .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0)
}

async function processes(url: string, { key }: { key?: string }): Promise<void> {
  const bearer = key ?? process.env['BASIN_KEY']
  const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
  const get = async (path: string): Promise<Response> => {
    const reply = await fetch(new URL(path, url), { headers })
    if (reply.ok || reply.status === 503) return reply
    throw new Error(`${url} answers ${path} with status ${String(reply.status)}`)
  }
  const { status } = (await (await get('/health')).json()) as { status: string }
  const metrics = await (await get('/metrics')).text()
  const { data } = (await (await get('/v1/models')).json()) as { data: { id: string }[] }
  const rows = data.map(({ id }) => [
    id,
    figureOf(metrics, 'basin_engine_up', id) > 0 ? 'loaded' : 'not in memory',
    mib(figureOf(metrics, 'basin_engine_memory_bytes', id)),
    String(figureOf(metrics, 'basin_requests', id, 'state="running"')),
    String(figureOf(metrics, 'basin_requests', id, 'state="waiting"')),
    String(figureOf(metrics, 'basin_refinement_steps_total', id)),
  ])
  console.log(table([['NAME', 'STATE', 'MEMORY', 'RUNNING', 'WAITING', 'STEPS'], ...rows]))
  if (status !== 'ok') console.error(`the server says that it is ${status}`)
}
