/**
 * The real worker, with faults on demand. Half a second after its job has come, and a little after the
 * next one has, so that a test can see both, the prompt `hang` keeps the thread busy for ever and `die`
 * throws where nobody catches; `poison` ends the thread on arrival.
 */
const built = (path: string): string =>
  new URL(`../../dist/generation/${path}`, import.meta.url).href

const source = `
  import { GenerationLoop } from '${built('loop.js')}'
  const { submit, tick } = GenerationLoop.prototype
  let due = Infinity
  let fault
  GenerationLoop.prototype.submit = function (job) {
    if (job.prompt === 'poison') process.exit(3)
    if (job.prompt === 'hang' || job.prompt === 'die') [fault, due] = [job.prompt, Date.now() + 500]
    else if (fault) due = Date.now() + 200
    submit.call(this, job)
  }
  GenerationLoop.prototype.tick = function () {
    if (Date.now() >= due) {
      if (fault === 'die') throw new Error('a fault of the engine')
      for (;;);
    }
    return tick.call(this)
  }
  await import('${built('worker.js')}')
`
export const faultyEntry = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
