/** Answers of the engine in this tab: the same frames as those of a socket, to and from a worker. */
import { signal } from '@preact/signals'
import type { FromTab, LandscapeQuestion, StartRequest, ToTab } from '../tab/protocol.js'
import { filesOf } from './place.js'
import { addressOf } from './server.js'
import type { Channel, Landscape, Listener } from './wire.js'

/** What the engine in the tab is doing, in a sentence; empty while it has nothing to say. */
export const tabNews = signal('')

let worker: Worker | undefined
let opened = 0
const listeners = new Map<string, Listener>()
const looks = new Map<string, (landscape: Landscape) => void>()

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

function hear({ data }: MessageEvent<FromTab>): void {
  switch (data.type) {
    case 'event':
      listeners.get(data.id)?.event(data.event)
      break
    case 'landscape':
      looks.get(data.id)?.(data.landscape)
      break
    case 'broken':
      listeners.get(data.id)?.broken(data.reason)
      listeners.delete(data.id)
      tabNews.value = ''
      break
    case 'fetching': {
      const of = data.total > 0 ? ` of ${megabytes(data.total)}` : ''
      tabNews.value = `Fetching ${data.model}: ${megabytes(data.done)}${of} MB.`
      break
    }
    case 'compiling':
      tabNews.value = `Preparing ${data.model} for this GPU …`
      break
    case 'ready':
      tabNews.value = `${data.model} runs in this tab, on ${data.adapter}. Nothing leaves it.`
  }
}

/** The script of the worker cannot be loaded, or it failed as a whole. */
function broken(): void {
  worker?.terminate()
  worker = undefined
  tabNews.value = ''
  for (const listener of listeners.values())
    listener.broken('the worker that computes in this tab does not run')
  listeners.clear()
}

function workerOf(): Worker {
  if (worker) return worker
  worker = new Worker(addressOf('page/tab.js'), { type: 'module' })
  worker.onmessage = hear
  worker.onerror = broken
  return worker
}

export function openTabChannel(request: StartRequest, listener: Listener): Channel {
  const id = String(++opened)
  const to = workerOf()
  const tell = (message: ToTab): void => to.postMessage(message)
  listeners.set(id, listener)
  tell({ type: 'start', id, files: filesOf(request.model), request })
  return {
    kind: 'socket',
    tell: (frame) => {
      if (frame.type !== 'start') tell({ type: 'steer', id, frame })
    },
    close: () => {
      listeners.delete(id)
      tell({ type: 'steer', id, frame: { type: 'cancel' } })
    },
  }
}

/** The landscape around the answer to a question. Throws what is wrong with it. */
export function lookInTab(question: LandscapeQuestion): Promise<Landscape> {
  const id = String(++opened)
  const looked = new Promise<Landscape>((resolve, reject) => {
    looks.set(id, resolve)
    listeners.set(id, {
      event: (event) => {
        if (event.type === 'error') reject(new Error(event.error.message))
      },
      broken: (reason) => {
        reject(new Error(reason))
      },
    })
  })
  const message: ToTab = { type: 'look', id, files: filesOf(question.model), question }
  workerOf().postMessage(message)
  return looked.finally(() => {
    looks.delete(id)
    listeners.delete(id)
  })
}
