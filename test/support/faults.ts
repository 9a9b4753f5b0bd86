/**
 * The real worker, with faults on demand. Half a second after its job has come, and a little after the
 * next one has, so that a test can see both, the prompt `hang` keeps the thread busy for ever and `die`
 * throws where nobody catches; `poison` ends the thread on arrival.
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
