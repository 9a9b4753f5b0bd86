/**
 * Names that the project has given up, because they were private words for what the field has a word for,
 * or stood for several things. test/house/words.test.ts looks for them.
 */

export interface RetiredName {
  name: string
  /** What replaces it. */
  now: string
  /**
   * What must not have this name. `type`: a class, interface or type. `constant`: a variable declared with
   * const at the top of a file. `identifier`: anything, for names that have no other meaning.
   */
  as: 'type' | 'constant' | 'identifier'
  /** Folders in which the name is looked for, where it is a good name elsewhere. Absent: everywhere. */
  under?: readonly string[]
}

const engineSide = ['src/generation/', 'src/energy/', 'test/generation/', 'test/energy/']

export const retiredNames: readonly RetiredName[] = [
  { name: 'GenerationLoop', now: 'EngineCore', as: 'identifier' },
  { name: 'Generation', now: 'EngineClient', as: 'type' },
  { name: 'WorkerRun', now: 'RequestStream', as: 'identifier' },
  {
    name: 'Run',
    now: 'RequestStream',
    as: 'type',
    under: ['src/', 'test/generation/', 'test/server/', 'test/support/'],
  },
  { name: 'Running', now: 'RequestState', as: 'type' },
  { name: 'Admitted', now: 'ScheduledRequest', as: 'type' },
  { name: 'Sequence', now: 'ScheduledRequest', as: 'type' },
  { name: 'ticket', now: 'requestId', as: 'identifier' },
  { name: 'nextTicket', now: 'nextRequestId', as: 'identifier' },
  {
    name: 'sequence',
    now: 'contextId, or request',
    as: 'identifier',
    under: [...engineSide, 'src/scheduler/', 'test/scheduler/'],
  },
  { name: 'Job', now: 'EngineRequest', as: 'type' },
  { name: 'JobEvent', now: 'RequestEvent', as: 'identifier' },
  { name: 'Jobs', now: 'RequestTable, or DurableJobs', as: 'type' },
  { name: 'Calls', now: 'EngineCalls', as: 'type', under: ['src/generation/'] },
  { name: 'Outbox', now: 'EventQueue', as: 'identifier' },
  { name: 'outbox', now: 'events', as: 'identifier' },
  { name: 'Inbox', now: 'RequestStream', as: 'identifier' },
  { name: 'inbox', now: 'stream', as: 'identifier' },
  { name: 'Receipt', now: 'ReportAck', as: 'identifier' },
  { name: 'receipt', now: 'ack', as: 'identifier' },
  { name: 'heard', now: 'acknowledged', as: 'identifier', under: engineSide },
  { name: 'Bell', now: 'Interrupt', as: 'identifier' },
  { name: 'bell', now: 'interrupt', as: 'identifier' },
  { name: 'ring', now: 'raise', as: 'identifier', under: engineSide },
  { name: 'quiet', now: 'clear', as: 'identifier', under: engineSide },
  { name: 'Stride', now: 'MultiStep', as: 'type', under: engineSide },
  { name: 'Strides', now: 'MultiStep', as: 'identifier' },
  { name: 'Survey', now: 'LandscapeProbe', as: 'identifier', under: engineSide },
  { name: 'Surveys', now: 'LandscapeProbe', as: 'identifier', under: engineSide },
  { name: 'survey', now: 'probe', as: 'identifier', under: engineSide },
  { name: 'surveys', now: 'probes', as: 'identifier', under: engineSide },
  { name: 'States', now: 'MeanPool', as: 'type', under: engineSide },
  { name: 'pressing', now: 'urgent', as: 'identifier' },
  { name: 'awaited', now: 'followed', as: 'identifier' },
  { name: 'untold', now: 'hasEvents', as: 'identifier' },
  { name: 'noted', now: 'markDirty', as: 'identifier' },
  { name: 'patient', now: 'buffered', as: 'identifier' },
  { name: 'Fate', now: 'WorkerStatus', as: 'identifier' },
  { name: 'Witness', now: 'ModelListener', as: 'identifier' },
  { name: 'Offer', now: 'ModelSource', as: 'type' },
  { name: 'ServedModels', now: 'ModelRegistry', as: 'identifier' },
  { name: 'Parts', now: 'AppContext', as: 'type' },
  { name: 'Doors', now: 'OriginPolicy', as: 'type' },
  { name: 'Counts', now: 'UsageStore', as: 'type', under: ['src/server/'] },
  { name: 'Ledger', now: 'RequestObserver', as: 'identifier' },
  { name: 'Steering', now: 'RunningRequests', as: 'type' },
  { name: 'Underway', now: 'CompletionRun', as: 'identifier' },
  { name: 'Following', now: 'ChoiceRun', as: 'type' },
  { name: 'Progress', now: 'ChoiceAccumulator', as: 'type', under: ['src/server/'] },
  { name: 'Narrator', now: 'ResponseEventWriter', as: 'identifier' },
  { name: 'Telling', now: 'ResponseMeta', as: 'identifier' },
  { name: 'Making', now: 'JobSpec', as: 'identifier' },
  { name: 'Said', now: 'EmittedEvent', as: 'identifier' },
  { name: 'Conversation', now: 'RefineSession', as: 'type' },
  { name: 'told', now: 'publicError, or a word for what it is', as: 'identifier', under: ['src/'] },
  { name: 'PATIENCE', now: 'a name with its unit', as: 'constant' },
  { name: 'FAREWELL', now: 'CLOSE_TIMEOUT_MS', as: 'constant' },
  { name: 'GATHERING', now: 'REPORT_INTERVAL_S', as: 'constant' },
  { name: 'PULSE', now: 'HEARTBEAT_MS', as: 'constant' },
  { name: 'SHORT', now: 'a name with its unit', as: 'constant' },
  { name: 'LONG', now: 'a name with its unit', as: 'constant' },
]

export interface RetiredFile {
  name: string
  /** The folder in which no file may have this name. */
  under: string
  now: string
}

const core = 'src/generation/core'
const client = 'src/generation/client'

export const retiredFiles: readonly RetiredFile[] = [
  { name: 'loop.ts', under: 'src/generation/', now: `${core}/engine-core.ts` },
  { name: 'run.ts', under: 'src/generation/', now: `${client}/request-stream.ts` },
  { name: 'client.ts', under: 'src/generation/', now: `${client}/engine-client.ts` },
  { name: 'outbox.ts', under: 'src/', now: `${core}/event-queue.ts` },
  { name: 'inbox.ts', under: 'src/', now: `${client}/request-stream.ts` },
  { name: 'receipt.ts', under: 'src/', now: 'src/generation/report-ack.ts' },
  { name: 'bell.ts', under: 'src/', now: 'src/energy/interrupt.ts' },
  { name: 'strides.ts', under: 'src/generation/', now: `${core}/multi-step.ts` },
  { name: 'stride-event.ts', under: 'src/generation/', now: `${core}/event-queue.ts` },
  { name: 'survey.ts', under: 'src/generation/', now: `${core}/landscape-probe.ts` },
  { name: 'surveys.ts', under: 'src/generation/', now: `${core}/landscape-probe.ts` },
  { name: 'running.ts', under: 'src/generation/', now: `${core}/request-state.ts` },
  { name: 'settlement.ts', under: 'src/generation/', now: `${core}/output-processor.ts` },
  { name: 'settle.ts', under: 'src/generation/', now: `${core}/token-selection.ts` },
  { name: 'represent.ts', under: 'src/generation/', now: `${core}/embedding.ts` },
  { name: 'drive.ts', under: 'src/generation/', now: `${core}/message-loop.ts` },
  { name: 'wire.ts', under: 'src/', now: 'src/server/event-fields.ts' },
  { name: 'base.ts', under: 'src/', now: 'a name that says what is inside' },
  { name: 'runs.ts', under: 'src/', now: 'a name that says what is inside' },
  { name: 'parts.ts', under: 'src/', now: 'src/server/context.ts' },
  { name: 'doors.ts', under: 'src/', now: 'src/server/plugins/origin-policy.ts' },
  { name: 'counts.ts', under: 'src/', now: 'a name that says what is inside' },
  { name: 'served.ts', under: 'src/', now: 'src/server/models/' },
  { name: 'narrator.ts', under: 'src/', now: 'src/server/openai/' },
  { name: 'conversation.ts', under: 'src/', now: 'src/server/basin/' },
]
