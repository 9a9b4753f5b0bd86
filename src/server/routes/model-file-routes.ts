/**
 * `/v1/models/{model}/files/{file}`: the files of models that the operator lets clients have, so that a
 * browser can compute with them. Like every route of the API it needs a key where the server has keys.
 */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Type } from 'typebox'
import { BasinError } from '../../errors.js'
import type { App } from '../context.js'
import { refusals } from '../schemas/reply-schema.js'

/** The directory and the names of the files of each model. */
export type ModelFiles = ReadonlyMap<string, { directory: string; files: readonly string[] }>

const typeOf = (file: string): string =>
  file.endsWith('.json') ? 'application/json' : 'application/octet-stream'

export function modelFileRoutes(app: App, models: ModelFiles): void {
  app.get(
    '/v1/models/:model/files/:file',
    {
      schema: {
        summary: 'A file of a model, for an engine of the client',
        tags: ['models'],
        params: Type.Object({ model: Type.String(), file: Type.String() }),
        response: {
          200: Type.Unknown({ description: 'the file' }),
          304: Type.Unknown({ description: 'the client has it, as `if-none-match` says' }),
          ...refusals(401, 403, 404, 500),
        },
      },
    },
    async ({ headers, params: { file, model } }, reply) => {
      const found = models.get(model)
      if (!found?.files.includes(file))
        throw new BasinError('not_found', { what: `The file ${file} of the model ${model}` })
      const path = join(found.directory, file)
      const { mtimeMs, size } = await stat(path)
      const tag = `"${size.toString(16)}-${Math.round(mtimeMs).toString(16)}"`
      void reply.header('etag', tag).header('cache-control', 'private, no-cache')
      if (headers['if-none-match'] === tag) return reply.code(304).send(undefined)
      return reply.type(typeOf(file)).header('content-length', size).send(createReadStream(path))
    },
  )
}
