/** Names the built addon and program: from the directory of the compiled benchmarks they would not be found. */
import { fileURLToPath } from 'node:url'

process.env['BASIN_ADDON'] ??= fileURLToPath(new URL('../Release/basin.node', import.meta.url))
process.env['BASIN_MAIN'] ??= fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
