/** The example of docs/socket.md, against a real server: what it shows of each frame is what comes. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Frame, Peer } from '../support/peer.js'
import { Server, shipped, shippedModels } from '../support/process.js'

const page = readFileSync(fileURLToPath(new URL('../../docs/socket.md', import.meta.url)), 'utf8')
const [, example = ''] = /## An example\n\n```\n([^]*?)```/.exec(page) ?? []
const lines = (mark: string): string[] =>
  example.split('\n').flatMap((line) => (line.startsWith(mark) ? [line.slice(mark.length)] : []))

/** The fields that a shown frame names, as they are written: numbers are rounded, texts may end with an ellipsis. */
const shownFields = (frame: string): [string, string][] =>
  [...frame.matchAll(/"(\w+)":("[^"]*"|[\d.]+)/g)].map(([, name = '', value = '']) => [name, value])

/** Differ from run to run. */
const varying = new Set(['id', 'queue_seconds'])

describe.skipIf(!shipped)('the example of docs/socket.md', () => {
  let server: Server
  beforeAll(async () => {
    server = await Server.start(shippedModels, '--model', 'sudoku6')
  })
  afterAll(() => server.stop())

  it('shows the frames that come', async () => {
    const peer = await Peer.connect(server.socket)
    for (const sent of lines('> ')) {
      peer.say(JSON.parse(sent) as object)
      await peer.finished()
    }
    const shown = lines('< ')
    expect(shown.length).toBeGreaterThan(5)
    for (const text of shown) {
      const fields = shownFields(text)
      const number = Number(fields.find(([name]) => name === 'sequence_number')?.[1])
      const frame = peer.frames[number] as Frame
      const seen = fields.map(([name, value]) => [name, asShown(frame[name], value, name)])
      expect(seen).toEqual(fields)
    }
    await peer.close()
  })
})

/** The value of a frame with as many digits, or as much of the text, as the page shows. */
function asShown(value: unknown, shown: string, name: string): string {
  if (varying.has(name)) return shown
  if (typeof value === 'number') return value.toFixed(shown.split('.')[1]?.length ?? 0)
  const [begin = ''] = shown.split('…')
  const text = JSON.stringify(value)
  return shown.includes('…') ? `${text.slice(0, begin.length)}…"` : text
}
