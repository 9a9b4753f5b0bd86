/**
 * `basin config`: prints the settings that `basin serve` would run with, and the source of each. The
 * options of `serve` are the only schema: a flag, an environment variable and an entry of the settings
 * file have the same name, parser and bounds. A flag overrides a variable, a variable overrides the file,
 * and the file overrides the default.
 */
import { readFileSync } from 'node:fs'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { BasinError } from '../../errors.js'

const fileOption = () =>
  new Option('--config <file>', 'JSON file of settings, named as these flags are').env(
    'BASIN_CONFIG',
  )

/** An option whose value is never printed. */
export class SecretOption extends Option {}

/** Registers `config`, and gives `serve` a settings file. `serve` must be registered before. */
export function registerConfig(program: Command): void {
  const serve = program.commands.find((command) => command.name() === 'serve')
  if (!serve) throw new BasinError('internal')
  serve.addOption(fileOption())
  const settings = [...serve.options]
  serve.hook('preAction', (command) => {
    takeFile(command, settings)
  })
  const config = program
    .command('config')
    .description('print the settings that serve would run with, and the source of each')
  for (const option of settings) config.addOption(option)
  config.option('--json', 'print them as JSON').action(({ json }: { json?: true }) => {
    takeFile(config, settings)
    const effective = settings.map((option) => settingOf(config, option))
    console.log(json ? JSON.stringify(effective, null, 2) : tableOf(effective))
  })
}

const nameOf = ({ long }: Option): string => (long ?? '').replace('--', '')

/** Sets the options that are in the file and have neither a flag nor a variable. */
function takeFile(command: Command, settings: readonly Option[]): void {
  const { config: path } = command.opts<{ config?: string }>()
  if (path === undefined) return
  for (const [name, value] of Object.entries(readSettings(path))) {
    const option = settings.find((each) => nameOf(each) === name)
    if (!option || name === 'config') {
      throw new BasinError('invalid_data', {
        path,
        reason: `there is no setting ${name}; basin config lists all settings`,
      })
    }
    const key = option.attributeName()
    const parsed = parse(option, value, path)
    const source = command.getOptionValueSource(key)
    if (source !== 'cli' && source !== 'env')
      command.setOptionValueWithSource(key, parsed, 'config')
  }
}

function readSettings(path: string): object {
  let settings: unknown
  try {
    settings = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new BasinError('invalid_data', { path, reason: (cause as Error).message }, { cause })
  }
  if (typeof settings === 'object' && settings !== null && !Array.isArray(settings)) return settings
  throw new BasinError('invalid_data', { path, reason: 'it is not an object of settings' })
}

/** Parses a value with the option's own parser, as if it were a flag; a list is a repeated flag. */
function parse(option: Option, value: unknown, path: string): unknown {
  const refuse = (reason: string) =>
    new BasinError('invalid_data', { path, reason: `${nameOf(option)}: ${reason}` })
  let parsed: unknown
  for (const each of Array.isArray(value) ? (value as unknown[]) : [value]) {
    if (typeof each !== 'string' && typeof each !== 'number') {
      throw refuse('It must be a text or a number, or a list of them.')
    }
    try {
      parsed = option.parseArg ? option.parseArg(String(each), parsed) : String(each)
    } catch (error) {
      if (error instanceof InvalidArgumentError) throw refuse(error.message)
      throw error
    }
  }
  return parsed
}

interface Setting {
  name: string
  /** Null if it is not set. */
  value: unknown
  source: string
}

function settingOf(command: Command, option: Option): Setting {
  const key = option.attributeName()
  const sources: Record<string, string | undefined> = {
    cli: option.long,
    env: option.envVar,
    config: command.opts<{ config?: string }>().config,
  }
  const value = command.getOptionValue(key) as unknown
  return {
    name: nameOf(option),
    value: option instanceof SecretOption && value !== undefined ? '(hidden)' : (value ?? null),
    source: sources[command.getOptionValueSource(key) ?? ''] ?? 'default',
  }
}

function readable(value: unknown): string {
  if (Array.isArray(value)) return value.map(readable).join(' ')
  return typeof value === 'string' ? value : value === null ? '-' : JSON.stringify(value)
}

function tableOf(settings: readonly Setting[]): string {
  const cells = settings.map(({ name, source, value }) => [name, readable(value), source])
  const width = (column: number) => Math.max(...cells.map((row) => row[column]?.length ?? 0))
  return cells
    .map(([name = '', value = '', source = '']) =>
      [name.padEnd(width(0)), value.padEnd(width(1)), source].join('  '),
    )
    .join('\n')
}
