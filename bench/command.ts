/** The command line of a benchmark: flags with defaults, and the text that --help prints. */
import { parseArgs } from 'node:util'

export interface Flag {
  /** Empty if the flag has no default. */
  default: string
  help: string
}

function fail(name: string, reason: string): never {
  console.error(`bench ${name}: ${reason}; npm run bench -- ${name} --help lists the flags`)
  process.exit(2)
}

/**
 * Reads the flags of the benchmark `name`. Values without a flag are taken in the order of `flags`.
 * Prints `about` and the flags, and ends the process, if --help is among them.
 */
export function readFlags<Name extends string>(
  name: string,
  about: string,
  flags: Readonly<Record<Name, Flag>>,
): Record<Name, string> {
  const names = Object.keys(flags) as Name[]
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
  }
  for (const flag of names) options[flag] = { type: 'string' }
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    if (values['help'] === true) {
      console.log(helpOf(name, about, flags))
      process.exit(0)
    }
    if (positionals.length > names.length)
      fail(name, `there is no flag for ${positionals.slice(names.length).join(' ')}`)
    const given = names.map((flag, i) => {
      const value = values[flag] ?? positionals[i] ?? flags[flag].default
      return [flag, String(value)] as const
    })
    return Object.fromEntries(given) as Record<Name, string>
  } catch (error) {
    return fail(name, (error as Error).message)
  }
}

function helpOf(name: string, about: string, flags: Readonly<Record<string, Flag>>): string {
  const heads = Object.keys(flags).map((flag) => `--${flag}`)
  const width = Math.max(...heads.map((head) => head.length))
  const lines = Object.values(flags).map(({ default: value, help }, i) => {
    const standard = value === '' ? '' : ` (default: ${value})`
    return `  ${(heads[i] ?? '').padEnd(width)}  ${help}${standard}`
  })
  return [`npm run bench -- ${name} [flags]`, '', about, '', ...lines].join('\n')
}

/** Words separated by commas. */
export const listOf = (text: string): string[] => text.split(',').filter((word) => word !== '')

/** A number of at least `least`; ends the process with a message otherwise. */
export function numberOf(name: string, flag: string, text: string, least = 0): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value >= least) return value
  return fail(name, `--${flag} must be a number from ${least} up, got ${JSON.stringify(text)}`)
}

/** Numbers separated by commas. */
export const numbersOf = (name: string, flag: string, text: string, least = 0): number[] =>
  listOf(text).map((word) => numberOf(name, flag, word, least))
