// An answer that is watched and steered over the socket: `node socket.mjs [url]`. Node 20 has no WebSocket of
// its own: there the package ws brings it.
import { BasinClient } from 'basin-ebt/client'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'
const WebSocket = globalThis.WebSocket ?? (await import('ws')).WebSocket
const basin = new BasinClient({ url, WebSocket })
const model = (await basin.models()).find(({ id }) => id === 'sudoku6')
const answer = basin.refine({
  model: model.id,
  template: model.capabilities.template.example,
  refinement: { max_steps: null, max_seconds: 20 },
})
for await (const event of answer) {
  if (event.type === 'step') console.log(`step ${event.step}, energy ${event.energy.toFixed(4)}`)
  // It would descend for 20 seconds; this is enough.
  if (event.type === 'step' && event.step === 20) answer.finish()
  if (event.type === 'finished') console.log(event.text)
}
