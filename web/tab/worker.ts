/** The entry of the worker that computes answers in the tab. It opens each model when it is first asked for. */
import type { FromTab, ModelFiles, ToTab } from './protocol.js'
import { TabModel } from './tab-model.js'

/** Models that stay open at once, where others are idle: those of a comparison. */
const MOST_MODELS = 2

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ToTab>) => void
  postMessage: (message: FromTab) => void
}
const send = (message: FromTab): void => scope.postMessage(message)

/** By name, the one that was asked last at the end. */
const models = new Map<string, Promise<TabModel>>()
/** The model of each answer. */
const owners = new Map<string, Promise<TabModel>>()

function modelOf(files: ModelFiles): Promise<TabModel> {
  const { name } = files
  const forget = (): void => {
    if (models.get(name) === opening) models.delete(name)
  }
  const opening =
    models.get(name) ??
    TabModel.open(files, send, () => {
      const lost = models.get(name)
      models.delete(name)
      void lost?.then((model) => model.close())
    })
  models.delete(name)
  models.set(name, opening)
  opening.catch(forget)
  return opening
}

/** Closes the models that were asked longest ago, where they are idle. */
async function makeRoom(): Promise<void> {
  for (const [name, opening] of [...models].slice(0, -MOST_MODELS)) {
    const model = await opening.catch(() => undefined)
    if (!model?.idle) continue
    models.delete(name)
    await model.close()
  }
}

async function receive(message: ToTab): Promise<void> {
  const { id } = message
  if (message.type === 'steer') {
    const model = await owners.get(id)
    model?.steer(id, message.frame)
    if (message.frame.type === 'cancel') owners.delete(id)
    return
  }
  const opening = modelOf(message.files)
  owners.set(id, opening)
  const model = await opening
  if (message.type === 'look') model.look(id, message.question)
  else if (owners.has(id)) model.start(id, message.request)
  await makeRoom()
}

scope.onmessage = ({ data }) => {
  receive(data).catch((error: unknown) => {
    owners.delete(data.id)
    const reason = error instanceof Error ? error.message : String(error)
    send({ type: 'broken', id: data.id, reason })
  })
}
