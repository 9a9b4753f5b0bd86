/** Options of the engines, for the verbs that answer: serve, generate, inspect, evaluate. */
import { availableParallelism } from 'node:os'
import { Option } from 'commander'
import { numberTypes } from '../../energy/native/options.js'
import { engineChoices, refiners } from '../../energy/open-engine.js'
import { prefixSharings } from '../../generation/protocol.js'
import { integer } from './number-parsers.js'

/** All cores but one, which is left to the thread that talks to clients. */
const defaultThreads = Math.max(1, availableParallelism() - 1)

export const engineOption = () =>
  new Option('--engine <name>', 'the engine that computes; auto takes the fastest one available')
    .choices(engineChoices)
    .env('BASIN_ENGINE')
    .default('auto')

export const threadsOption = () =>
  new Option('--threads <n>', 'threads of each engine')
    .env('BASIN_THREADS')
    .argParser(integer(1, 1024))
    .default(defaultThreads)

export const weightsOption = () =>
  new Option('--weights <type>', 'number type of the weights; bf16 and int8 need the native engine')
    .choices(numberTypes)
    .env('BASIN_WEIGHTS')
    .default('f32')

export const cacheTypeOption = () =>
  new Option(
    '--cache-type <type>',
    'number type of the context cache; bf16 and int8 need the native engine',
  )
    .choices(numberTypes)
    .env('BASIN_CACHE_TYPE')
    .default('f32')

export const directionOption = () =>
  new Option('--refiner <direction>', 'the direction in which a residual energy descends')
    .choices(refiners)
    .default('model', 'that of the checkpoint')

export const refinerOption = () => directionOption().env('BASIN_REFINER')

export const prefixSharingOption = () =>
  new Option(
    '--prefix-sharing <switch>',
    'whether prompts of one client with the same beginning share cache pages, and compute it once',
  )
    .choices(prefixSharings)
    .env('BASIN_PREFIX_SHARING')
    .default('on')
