/**
 * Draws an answer that settles, as a picture that moves: `node web/picture.mjs OUT [MODEL] [EFFORT]`.
 * It runs the built server with the shipped models, records a run over its socket, and draws it with the
 * page's own code. The same model and effort give the same picture.
 */
import { build } from 'esbuild'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'

const [out, name = 'sudoku6-exact', effort = 'high'] = process.argv.slice(2)
if (out === undefined) throw new Error('say where the picture goes: node web/picture.mjs OUT.svg')
const root = fileURLToPath(new URL('../', import.meta.url))

/** The page's drawing, as a module of this process. */
async function drawing() {
  const bundled = await build({
    stdin: {
      contents: `export { animatedSvg } from './svg.ts'; export { Recording } from './recording.ts'`,
      resolveDir: `${root}web/src`,
    },
    bundle: true,
    format: 'esm',
    write: false,
  })
  const [{ text }] = bundled.outputFiles
  return import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`)
}

/** Every frame of one answer. */
async function record(url, request) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/refine`)
  await once(socket, 'open')
  socket.send(JSON.stringify({ type: 'start', hold: false, logprobs: 5, ...request }))
  const events = []
  for await (const [data] of on(socket)) {
    const event = JSON.parse(data)
    if (event.type === 'error') throw new Error(event.error.message)
    events.push(event)
    if (event.type === 'finished') break
  }
  socket.close()
  return events
}

async function* on(socket) {
  const waiting = []
  let wake = () => {}
  socket.on('message', (data) => {
    waiting.push([data.toString()])
    wake()
  })
  for (;;) {
    while (waiting.length > 0) yield waiting.shift()
    await new Promise((resolve) => (wake = resolve))
  }
}

const server = spawn(process.execPath, [`${root}dist/cli/main.js`, 'serve', '--port', '0'])
try {
  let said = ''
  let url
  for await (const data of server.stdout) {
    said += data
    url = /is at (http:\S+), its/.exec(said)?.[1]
    if (url) break
  }
  if (!url) throw new Error('the server did not start: npm run build first')
  const model = await (await fetch(`${url}/v1/models/${name}`)).json()
  const { template } = model.capabilities
  const asked = template ? { template: template.example } : { prompt: 'Once upon a time' }
  const request = { model: name, ...asked, reasoning_effort: effort, seed: 1 }
  const { animatedSvg, Recording } = await drawing()
  const recording = new Recording(request)
  for (const event of await record(url, request)) recording.take(event)
  const picture = animatedSvg(recording, model)
  writeFileSync(out, picture)
  console.log(`${out}: ${recording.moments.length} steps, ${(picture.length / 1000).toFixed(1)} kB`)
} finally {
  server.kill()
}
