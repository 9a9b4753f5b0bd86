/**
 * The OpenAPI document, made from the schemas of the routes and the models that are served, and the page that
 * shows it.
 */
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'
import { examplesOf } from '../api-examples.js'
import type { ModelRegistry } from '../models/model-registry.js'

const tags = [
  { name: 'text', description: 'Completions, chats and embeddings, as OpenAI has them' },
  { name: 'responses', description: 'Answers that run in the background and can be resumed' },
  { name: 'steering', description: 'End a running answer, or let it descend longer' },
  { name: 'energy', description: 'How well given answers fit, and what lies around one' },
  { name: 'tokens', description: 'Text to tokens of a model, and back' },
  { name: 'models', description: 'Which models are served, and what each can do' },
  { name: 'operation', description: 'For operators' },
  { name: 'administration', description: 'For the holders of an administrator’s key' },
]

/** How clients bring their keys: either of the two. */
const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', description: 'a key of basin keys add' },
  apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key', description: 'the same key' },
} as const

export interface ApiDocsOptions {
  /** Of this software. */
  version: string
  models: Pick<ModelRegistry, 'profiles'>
  /** The server has keys. */
  keyed: boolean
  /** A key is needed for the document and its page too. They hold no secret. */
  secret: boolean
}

/** What of the document is changed below. */
interface Operation {
  requestBody?: { content: Record<string, object> }
  parameters?: { name: string; example?: string }[]
}
interface Document {
  paths?: Record<string, Record<string, Operation>>
}

/** Puts requests that these models answer into the document, which may be changed. */
function addExamples(document: Document, models: ApiDocsOptions['models']): Document {
  const configs = models.profiles.map(({ model }) => model)
  for (const [path, operations] of Object.entries(document.paths ?? {})) {
    for (const { parameters = [], requestBody } of Object.values(operations)) {
      const examples = examplesOf(path, configs)
      const json = requestBody?.content['application/json']
      if (examples && json) Object.assign(json, { examples })
      const model = parameters.find(({ name }) => name === 'model')
      const [first] = configs
      if (model && first) model.example = first.name
    }
  }
  return document
}

export const apiDocs = fp<ApiDocsOptions>(
  async (app, { keyed, models, secret, version }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'Basin',
          description: 'Language models that find their answers by descent on an energy',
          version,
          license: { name: 'MIT', identifier: 'MIT' },
        },
        tags,
        ...(keyed && {
          components: { securitySchemes },
          security: [{ bearer: [] }, { apiKey: [] }],
        }),
      },
    })
    if (!secret) {
      app.addHook('onRoute', (route) => {
        if (/^\/docs(\/|$)/.test(route.url)) route.config = { ...route.config, public: true }
      })
    }
    const complete = () =>
      addExamples(structuredClone(app.swagger()) as unknown as Document, models)
    await app.register(swaggerUi, {
      routePrefix: '/docs',
      uiConfig: { tryItOutEnabled: true },
      // The page loads nothing from elsewhere, works over http under any name, and styles what it draws inline.
      staticCSP: true,
      transformStaticCSP: (policy) =>
        policy
          .replace(/upgrade-insecure-requests;?/, '')
          .replaceAll(' https:', '')
          .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
          .replace(' validator.swagger.io', ''),
      transformSpecificationClone: false,
      transformSpecification: complete as () => Record<string, unknown>,
    })
    const config = { public: !secret }
    app.get('/openapi.json', { config, schema: { hide: true } }, complete)
  },
  { name: 'api-docs' },
)
