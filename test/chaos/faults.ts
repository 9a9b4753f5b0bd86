/**
 * What can go wrong, each as a function that lets it happen to a world and returns when it is over. `dice`
 * decides the details. Whoever calls them checks what must hold afterwards.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, statSync, writeSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { World } from './world.js'

/** A number from 0 below `limit`. */
export type Dice = (limit: number) => number

export interface Fault {
  name: string
  /** Why it cannot be had here; undefined where it can. */
  missing?: string | undefined
  /** What was stored may be lost: such responses are then refused, and not continued. */
  loses?: boolean
  happen: (world: World, dice: Dice) => Promise<void>
}

const endless = { max_steps: null, tolerance: 0, patience: 1000, min_steps: 100_000 }
const unbounded = { prompt: 'once', max_tokens: 4, refinement: endless }
const ignore = (): undefined => undefined

const killed: Fault = {
  name: 'kill -9',
  happen: async (world, dice) => {
    await wait(dice(400))
    await world.kill('SIGKILL')
    await world.start()
  },
}

const stopped: Fault = {
  name: 'SIGSTOP',
  happen: async (world, dice) => {
    world.server?.signal('SIGSTOP')
    await wait(200 + dice(2000))
    world.server?.signal('SIGCONT')
  },
}

const drained: Fault = {
  name: 'SIGTERM and a new start',
  happen: async (world) => {
    await world.kill('SIGTERM')
    await world.start()
  },
}

/** Files of the process may grow no further for a while. */
const fullDisk: Fault = {
  name: 'a disk that takes no more',
  missing:
    spawnSync('prlimit', ['--version']).status === 0 ? undefined : 'prlimit is not installed',
  happen: async (world, dice) => {
    const pid = String(world.server?.pid)
    const file = join(world.data, 'data.mdb')
    const size = existsSync(file) ? statSync(file).size : 65_536
    const limit = (bytes: string) => spawnSync('prlimit', ['--pid', pid, `--fsize=${bytes}:`])
    limit(String(size))
    await wait(200 + dice(1500))
    limit('unlimited')
  },
}

/** A page of the store is written over while no process has it open. */
const damage: Fault = {
  name: 'a damaged page of the store',
  loses: true,
  happen: async (world, dice) => {
    await world.kill('SIGKILL')
    const file = join(world.data, 'data.mdb')
    const pages = Math.floor(statSync(file).size / 4096)
    const descriptor = openSync(file, 'r+')
    const at = 4096 * (2 + dice(Math.max(1, pages - 2))) + dice(4000)
    writeSync(descriptor, Buffer.from(Array.from({ length: 64 }, () => dice(256))), 0, 64, at)
    closeSync(descriptor)
    await world.start()
  },
}

const head = (world: World, path: string, length: number) =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${world.keys.greedy}\r\n` +
  `content-type: application/json\r\ncontent-length: ${length}\r\n\r\n`

const socketOf = async (world: World) => {
  const socket = connect(Number(new URL(world.url).port), '127.0.0.1')
  socket.on('error', ignore)
  await once(socket, 'connect')
  return socket
}

const pipelined: Fault = {
  name: 'pipelined requests whose connection drops',
  happen: async (world, dice) => {
    const body = JSON.stringify({ model: 'letters', ...unbounded })
    const sockets = await Promise.all(Array.from({ length: 4 }, () => socketOf(world)))
    for (const socket of sockets)
      for (let i = 0; i < 1 + dice(10); i++)
        socket.write(head(world, '/v1/completions', body.length) + body)
    await wait(dice(500))
    for (const socket of sockets) socket.destroy()
  },
}

const slowReaders: Fault = {
  name: 'readers that do not read',
  happen: async (world, dice) => {
    const body = JSON.stringify({
      model: 'letters',
      ...unbounded,
      stream: true,
      include: ['refinement_step'],
    })
    const sockets = await Promise.all(Array.from({ length: 4 }, () => socketOf(world)))
    for (const socket of sockets) {
      socket.pause()
      socket.write(head(world, '/v1/completions', body.length) + body)
    }
    await wait(500 + dice(1500))
    for (const socket of sockets) socket.destroy()
  },
}

const paths = ['completions', 'chat/completions', 'responses', 'score', 'tokenize', 'landscape']

const hostileBodies: Fault = {
  name: 'hostile bodies',
  happen: async (world, dice) => {
    const { greedy } = world.keys
    const values = [
      null,
      -1,
      1e308,
      '',
      'x'.repeat(10_000),
      [],
      {},
      [[[[[]]]]],
      true,
      '\u0000',
      2 ** 53,
    ]
    const fields = [
      'model',
      'prompt',
      'messages',
      'input',
      'text',
      'refinement',
      'n',
      'stop',
      'stream',
    ]
    for (let i = 0; i < 60; i++) {
      const some = Array.from({ length: 1 + dice(4) }, () => [
        fields[dice(fields.length)] as string,
        values[dice(values.length)],
      ])
      const path = `/v1/${paths[dice(paths.length)] as string}`
      const reply = await world.post(greedy, path, Object.fromEntries(some))
      await reply.body?.cancel()
      if (reply.status >= 500 && reply.status !== 503)
        throw new Error(`${path} ${JSON.stringify(some).slice(0, 200)}: status ${reply.status}`)
    }
  },
}

const hostileFrames: Fault = {
  name: 'hostile frames',
  happen: async (world, dice) => {
    const types = ['start', 'pause', 'resume', 'extend', 'finish', 'cancel', 'clamp', 'nothing', '']
    for (let i = 0; i < 8; i++) {
      const socket = new WebSocket(`${world.url.replace('http', 'ws')}/v1/refine`, {
        headers: { authorization: `Bearer ${world.keys.greedy}` },
      })
      socket.on('error', ignore)
      await once(socket, 'open')
      for (let j = 0; j < 30; j++) {
        const type = types[dice(types.length)]
        const frame =
          dice(6) === 0 ? '{"type": ' : JSON.stringify({ type, ...unbounded, steps: dice(9) })
        if (socket.readyState === WebSocket.OPEN) socket.send(frame)
      }
      await wait(dice(60))
      if (dice(2) === 0) socket.terminate()
      else socket.close()
    }
  },
}

const loads: Fault = {
  name: 'a storm of loads and unloads',
  happen: async (world, dice) => {
    const { admin, greedy } = world.keys
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        const verb = dice(2) === 0 ? 'load' : 'unload'
        const asked =
          dice(3) === 0
            ? world.post(greedy, '/v1/completions', {
                model: 'figures',
                prompt: 'a',
                max_tokens: 2,
              })
            : world.post(admin, `/v1/models/figures/${verb}`, {})
        const reply = await asked
        await reply.body?.cancel()
        if (reply.status === 500) throw new Error(`${verb}: status 500`)
      }),
    )
    const last = await world.post(admin, '/v1/models/figures/load', {})
    await last.body?.cancel()
  },
}

const greed: Fault = {
  name: 'a client that takes all it can get',
  happen: async (world, dice) => {
    const { greedy } = world.keys
    const stop = new AbortController()
    const wide = { model: 'letters', ...unbounded, refinement: { ...endless, candidates: 16 } }
    const text = { model: 'letters', text: 'once upon a time '.repeat(10_000) }
    const asked = Array.from({ length: 40 }, (_, i) =>
      (i % 2 === 0
        ? world.post(greedy, '/v1/completions', wide, stop.signal)
        : world.post(greedy, '/v1/tokenize', text, stop.signal)
      ).then((reply) => reply.body?.cancel(), ignore),
    )
    await wait(500 + dice(1500))
    stop.abort()
    await Promise.all(asked)
  },
}

export const faults: readonly Fault[] = [
  killed,
  stopped,
  drained,
  fullDisk,
  damage,
  pipelined,
  slowReaders,
  hostileBodies,
  hostileFrames,
  loads,
  greed,
]
