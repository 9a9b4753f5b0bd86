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

/** Names of files that are gone, as ends of paths below src/. */
export const retiredFiles: Readonly<Record<string, string>> = {
  'generation/loop.ts': 'generation/core/engine-core.ts',
  'generation/run.ts': 'generation/client/request-stream.ts',
  'generation/client.ts': 'generation/client/engine-client.ts',
  'outbox.ts': 'generation/core/event-queue.ts',
  'inbox.ts': 'generation/client/request-stream.ts',
  'receipt.ts': 'generation/core/message-loop.ts',
  'bell.ts': 'energy/interrupt.ts',
  'strides.ts': 'generation/core/multi-step.ts',
  'stride-event.ts': 'generation/core/event-queue.ts',
  'survey.ts': 'generation/core/landscape-probe.ts',
  'surveys.ts': 'generation/core/landscape-probe.ts',
  'running.ts': 'generation/core/request-state.ts',
  'settlement.ts': 'generation/core/output-processor.ts',
  'settle.ts': 'generation/core/token-selection.ts',
  'represent.ts': 'generation/core/embedding.ts',
  'drive.ts': 'generation/core/message-loop.ts',
  'wire.ts': 'event-fields.ts',
  'base.ts': 'a name that says what is inside',
  'runs.ts': 'a name that says what is inside',
  'parts.ts': 'server/context.ts',
  'doors.ts': 'server/plugins/origin-policy.ts',
  'counts.ts': 'a name that says what is inside',
  'served.ts': 'server/models/',
  'narrator.ts': 'server/openai/',
  'conversation.ts': 'server/basin/',
}
