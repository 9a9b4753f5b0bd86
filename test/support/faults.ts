/**
 * The real worker, with faults on demand: a request whose prompt is `hang` keeps the thread busy for ever,
 * one with `die` makes a step throw, and one with `poison` ends the thread when it arrives. The first two
 * happen half a second after their request has come, or a little after the next request, so that a test can
 * have a second one under way.
 */
const built = (path: string): string =>
  new URL(`../../dist/generation/${path}`, import.meta.url).href

const source = `
  import { EngineCore } from '${built('core/engine-core.js')}'
  const { submit, step } = EngineCore.prototype
  let due = Infinity
  let fault
  EngineCore.prototype.submit = function (request) {
    const { prompt } = request
    if (prompt === 'poison') process.exit(3)
    if (prompt === 'hang' || prompt === 'die') [fault, due] = [prompt, Date.now() + 500]
    else if (fault) due = Date.now() + 200
    submit.call(this, request)
  }
  EngineCore.prototype.step = function () {
    if (Date.now() >= due) {
      if (fault === 'die') throw new Error('a fault of the engine')
      for (;;);
    }
    return step.call(this)
  }
  await import('${built('core/worker.js')}')
`
export const faultyEntry = new URL(`data:text/javascript,${encodeURIComponent(source)}`)
