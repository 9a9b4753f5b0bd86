/** The server's log, on standard error: readable lines on a terminal, JSON otherwise. */
import picocolors from 'picocolors'
import { pino, type Logger } from 'pino'

interface Line {
  level: number
  time: number
  msg: string
  reqId?: string
  err?: { stack?: string; message: string }
  [fact: string]: unknown
}

const colours = picocolors.createColors(process.stderr.isTTY)

function paint(level: number, text: string): string {
  if (level >= 50) return colours.red(text)
  return level >= 40 ? colours.yellow(text) : text
}

function readable(json: string): string {
  const { err, level, msg, time, ...facts } = JSON.parse(json) as Line
  delete facts.reqId
  const at = new Date(time).toISOString().slice(11, 23)
  const rest = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === 'number' ? +value.toFixed(4) : String(value)}`,
  )
  const head = `${colours.dim(at)} ${paint(level, msg)} ${colours.dim(rest.join(' '))}`
  return err ? `${head}\n${err.stack ?? err.message}\n` : `${head}\n`
}

export const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug'] as const

export function openLog(level: string): Logger {
  const options = { level, base: null }
  if (!process.stderr.isTTY) return pino(options, pino.destination(2))
  return pino(options, { write: (json: string) => process.stderr.write(readable(json)) })
}
