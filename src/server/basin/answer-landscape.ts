/** The energy along lines around a settled answer, for one request. */
import type { Of } from '../../generation/protocol.js'
import type { AppContext } from '../context.js'
import { followAll } from '../requests/request-service.js'
import type { Requester } from '../requests/requester.js'
import type { LandscapeReply, LandscapeRequest } from '../schemas/landscape-schema.js'
import { landscapeReply, probeRequestFrom } from './landscape-fields.js'

export async function landscapeAround(
  { limits, requests }: Pick<AppContext, 'limits' | 'requests'>,
  { client, disconnected: signal, engine }: Requester,
  body: LandscapeRequest,
): Promise<LandscapeReply> {
  const { model } = engine
  const request = probeRequestFrom(body, model, limits)
  const submitted = await requests.submit(engine, [request], {
    client,
    route: 'landscape',
    signal,
  })
  let found: Pick<Of<'probed'>, 'lines' | 'plane'> = { lines: [] }
  let finished: Of<'finished'> | undefined
  await followAll(submitted, (event) => {
    if (event.type === 'probed') found = event
    if (event.type === 'finished') finished = event
  })
  return landscapeReply(model.name, found, finished)
}
