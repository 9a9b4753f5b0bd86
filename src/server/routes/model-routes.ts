/** `/v1/models`: what is served, and what each model can do. */
import { Type, type Static } from 'typebox'
import { type ModelConfig, TemplateLayout } from '../../model/config.js'
import type { Limits } from '../limits.js'
import type { App, AppContext } from '../context.js'
import { replies } from '../schemas/reply-schema.js'
import type { ModelFiles } from './model-file-routes.js'
import type { ModelProfile } from '../models/model-registry.js'

const Model = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Unix time, seconds' }),
  owned_by: Type.String(),
  description: Type.String(),
  files: Type.Boolean({
    description: 'its files are at /v1/models/{model}/files, so that a browser can compute with it',
  }),
  capabilities: Type.Object({
    context_length: Type.Integer({ description: 'positions of prompt and completion together' }),
    vocab_size: Type.Integer(),
    block: Type.Integer({ description: 'positions that are inferred at once' }),
    dimensions: Type.Integer({ description: 'numbers of an embedding' }),
    chat: Type.Unsafe<'template' | 'plain'>({
      enum: ['template', 'plain'],
      description:
        'how it reads conversations. template: by its own chat template. plain: it continues the ' +
        'contents joined by blank lines, or fills the last message of the user if it fills templates',
    }),
    tools: Type.Boolean({
      description: 'its chat template knows tools, and it can be given some to call',
    }),
    structured_output: Type.Boolean({
      description: 'its texts can be held to a JSON schema, an expression, choices or rules',
    }),
    endpoints: Type.Array(Type.String(), { description: 'routes that answer with this model' }),
    max_steps: Type.Integer({ description: "the operator's cap on steps of an answer" }),
    max_seconds: Type.Number({ description: "the operator's cap on seconds of an answer" }),
    max_candidates: Type.Integer({ description: 'of an answer' }),
    steps: Type.Integer({ description: 'trained number of steps: the default budget' }),
    energy_target: Type.Union([Type.Number(), Type.Null()], {
      description: 'energy at which efforts above medium end an answer: as good as right',
    }),
    answer_space: Type.String(),
    energy: Type.String(),
    start: Type.String({ description: 'where answers start; a draft allows 0 steps' }),
    template: Type.Union([
      Type.Object({
        blank: Type.String({ description: 'marks a position to be inferred' }),
        length: Type.Union([Type.Integer(), Type.Null()], {
          description: 'positions that every template must have; null: any, and none is needed',
        }),
        example: Type.Union([Type.String(), Type.Null()], { description: 'a template to try' }),
        layout: Type.Union([TemplateLayout, Type.Null()]),
      }),
      Type.Null(),
    ]),
  }),
})

const routes = [
  'completions',
  'chat/completions',
  'responses',
  'refine',
  'score',
  'rerank',
  'embeddings',
]

/** Routes that answer with this model. */
function endpointsOf({ answer }: ModelConfig): string[] {
  const landscape = answer.normalize === 'first_step' ? [] : ['landscape']
  return [...routes, ...landscape].map((route) => `/v1/${route}`)
}

/** `files`: whether its files can be fetched. */
export function describeModel(
  profile: ModelProfile,
  { caps }: Limits,
  files: boolean,
): Static<typeof Model> {
  const { chat, model, tools } = profile
  const { answer, energy, template } = model
  return {
    id: model.name,
    object: 'model',
    created: model.created,
    owned_by: 'basin',
    description: model.description,
    files,
    capabilities: {
      context_length: model.context_length,
      vocab_size: model.vocab_size,
      block: answer.block,
      dimensions: model.dim,
      chat: chat ? 'template' : 'plain',
      tools: tools !== undefined,
      structured_output: template?.length === undefined,
      endpoints: endpointsOf(model),
      max_steps: caps.maxSteps,
      max_seconds: caps.maxSeconds,
      max_candidates: caps.candidates,
      steps: model.steps,
      energy_target: model.energy_target ?? null,
      answer_space: answer.space,
      energy: energy.kind,
      start: answer.start,
      template: template
        ? {
            blank: template.blank,
            length: template.length ?? null,
            example: template.example ?? null,
            layout: template.layout ?? null,
          }
        : null,
    },
  }
}

export function modelRoutes(
  app: App,
  { limits, models }: Pick<AppContext, 'limits' | 'models'>,
  modelFiles: ModelFiles,
): void {
  const modelOf = (profile: ModelProfile) =>
    describeModel(profile, limits, modelFiles.has(profile.model.name))
  const tags = ['models']
  const List = Type.Object({ object: Type.Literal('list'), data: Type.Array(Model) })
  app.get(
    '/v1/models',
    {
      schema: {
        operationId: 'listModels',
        summary: 'The models that are served, the default first',
        tags,
        response: replies(List),
      },
    },
    () => ({
      object: 'list' as const,
      data: models.profiles.map(modelOf),
    }),
  )
  app.get(
    '/v1/models/:model',
    {
      schema: {
        operationId: 'getModel',
        summary: 'One model',
        tags,
        params: Type.Object({ model: Type.String() }),
        response: replies(Model, 400, 404),
      },
    },
    ({ params }) => modelOf(models.profile(params.model)),
  )
}
