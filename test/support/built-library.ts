/** The entries of the package, as they were built: their workers run built code. */
import type * as Library from '../../src/library/library.js'
import type * as Server from '../../src/library/server.js'
import type * as Client from '../../src/client/index.js'

const entry = (path: string): string => new URL(`../../dist/${path}`, import.meta.url).href

export const { BasinError, openModel, train } = (await import(
  entry('library/library.js')
)) as typeof Library
export const { basin } = (await import(entry('library/server.js'))) as typeof Server
export const { BasinClient, BasinClientError } = (await import(
  entry('client/index.js')
)) as typeof Client
