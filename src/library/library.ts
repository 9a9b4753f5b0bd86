/** `basin-ebt`: models in one's own program. */
export { BasinError, type ErrorCode } from '../errors.js'
export type { EngineInfo } from '../energy/engine.js'
export type { EnergySummary, TokenLogprob } from '../generation/protocol.js'
export type { ModelConfig } from '../model/config.js'
export type { CommitRequest, ReasoningEffort, RestartsRequest } from '../refine/presets.js'
export type { TermResult } from '../refine/terms/term.js'
export type { ResponseFormat, StructuredOutputs } from '../server/schemas/structure-schema.js'
export type { EnergyTerm } from '../server/schemas/terms-schema.js'
export {
  openModel,
  type EmbedRequest,
  type Model,
  type OpenModelOptions,
  type Score,
  type ScoreRequest,
} from './model.js'
export type { Answer, Refinement, Step } from './refinement.js'
export type { AnswerBudget, AnswerRequest } from './request.js'
export {
  train,
  type TrainingReport,
  type TrainingResult,
  type TrainingRun,
  type TrainRequest,
} from './train.js'
