/**
 * The real worker, with faults on demand. In the tick after its job has started, the prompt `hang` keeps
 * the thread busy for ever and `die` throws where nobody catches; `poison` ends the thread on arrival.
 */
const built = (path: string): string =>
  new URL(`../../dist/generation/${path}`, import.meta.url).href

const source = `
  import { GenerationLoop } from '${built('loop.js')}'
  const { submit, tick } = GenerationLoop.prototype
  let ticks = 0
  let fault
  GenerationLoop.prototype.submit = function (job) {
    if (job.prompt === 'poison') process.exit(3)
    if (job.prompt === 'hang' || job.prompt === 'die') [fault, ticks] = [job.prompt, 0]
    submit.call(this, job)
  }
  GenerationLoop.prototype.tick = function () {
    if (fault && ticks++ > 1) {
      if (fault === 'die') throw new Error('a fault of the engine')
      for (;;);
    }
    return tick.call(this)
  }
  await import('${built('worker.js')}')
`
export const faultyEntry = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
