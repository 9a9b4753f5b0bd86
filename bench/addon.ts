/** Names the built addon: from the directory of the compiled benchmarks the engine would not find it. */
import { fileURLToPath } from 'node:url'

process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))
