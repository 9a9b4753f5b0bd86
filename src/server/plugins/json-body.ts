/** Reads bodies: JSON in UTF-8 and nothing else. Bytes that are not UTF-8 are refused, not replaced. */
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { BasinError } from '../../errors.js'
import { readBody } from '../body-reader.js'
import { nestsBeyond } from '../json-nesting.js'

type BodyDone = (error: Error | null, body?: unknown) => void

export const jsonBody = fp<{ nesting: number; limit: number }>(
  (app, { limit, nesting }, done) => {
    const utf8 = new TextDecoder('utf-8', { fatal: true })
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()
    const parse = (request: FastifyRequest, body: Buffer, parsed: BodyDone) => {
      // Python's official client sends this content type with an empty body where a route takes none.
      if (body.length === 0 && !request.routeOptions.schema?.body) {
        parsed(null, undefined)
        return
      }
      let text: string
      try {
        text = utf8.decode(body)
      } catch (cause) {
        const facts = { param: 'body', reason: 'it is not valid UTF-8' }
        parsed(new BasinError('invalid_request', facts, { cause }))
        return
      }
      if (nestsBeyond(text, nesting)) {
        const bound = `nested at most ${nesting} deep`
        parsed(new BasinError('out_of_range', { param: 'body', bound, value: 'more' }))
        return
      }
      void parseJson(request, text, parsed)
    }
    app.addContentTypeParser('application/json', (request, payload, parsed) => {
      readBody(payload, limit).then(
        (body) => {
          parse(request, body, parsed)
        },
        (error: unknown) => {
          parsed(error as Error, undefined)
        },
      )
    })
    done()
  },
  { name: 'json-body' },
)
