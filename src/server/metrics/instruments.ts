/**
 * Every metric by name, meaning and buckets. Names begin with `basin_`, and units are base units. The
 * values of a label are bounded: a model, an engine, a route, a reason; never a text, an id or an address.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Upper bounds of buckets, in seconds: of one step or token, and of what a client waits for. */
const STEP_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]
const WAIT_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]
const POWERS_OF_TWO = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
const STEPS = [0, ...POWERS_OF_TWO, 16_384, 65_536]
/** Energies have no unit and may be negative, so the sum of their histogram may fall: use its quantiles. */
const ENERGY = [-1000, -100, -10, -1, -0.1, 0, 0.01, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000]

export function instrumentsIn(registry: Registry) {
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `basin_${name}`, help, labelNames, registers })
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name: `basin_${name}`, help, labelNames, registers })
  const histogram = <L extends string>(
    name: string,
    help: string,
    buckets: number[],
    ...labelNames: L[]
  ) => new Histogram({ name: `basin_${name}`, help, buckets, labelNames, registers })

  return {
    httpRequests: counter(
      'http_requests_total',
      'HTTP requests by route and status',
      'method',
      'route',
      'status',
    ),
    httpSeconds: histogram(
      'http_request_duration_seconds',
      'From the arrival of a request to the end of its reply',
      WAIT_SECONDS,
      'route',
    ),
    errors: counter('errors_total', 'Error replies by code', 'route', 'code'),
    sockets: gauge('sockets_open', 'Open connections of /v1/refine'),
    socketsRefused: counter(
      'sockets_refused_total',
      'Connections of /v1/refine that were refused (sockets: their client has as many as it may) or closed (bytes: unfinished messages took too much memory; seconds: a message did not end in time)',
      'reason',
    ),
    unfinishedBytes: gauge(
      'sockets_unfinished_bytes',
      'Memory that messages of /v1/refine take that have begun and not ended',
    ),

    completions: counter(
      'completions_total',
      'Completions that ended, by finish reason; failed: with an error',
      'model',
      'route',
      'finish_reason',
    ),
    completionSeconds: histogram(
      'completion_duration_seconds',
      'From submission to the end of a completion',
      WAIT_SECONDS,
      'model',
      'route',
    ),
    queueSeconds: histogram(
      'queue_duration_seconds',
      'From submission to admission',
      WAIT_SECONDS,
      'model',
    ),
    firstTokenSeconds: histogram(
      'time_to_first_token_seconds',
      'From submission to the first settled token',
      WAIT_SECONDS,
      'model',
    ),
    prefillSeconds: histogram(
      'prefill_duration_seconds',
      'From admission to the first settled token: the prompt is observed and an answer settles',
      WAIT_SECONDS,
      'model',
    ),
    decodeSeconds: histogram(
      'decode_duration_seconds',
      'From the first settled token to the end of a completion',
      WAIT_SECONDS,
      'model',
    ),
    tokenSeconds: histogram(
      'inter_token_latency_seconds',
      'Between settled answers, divided by the tokens of the later one',
      STEP_SECONDS,
      'model',
    ),
    promptTokens: counter('prompt_tokens_total', 'Tokens of admitted prompts', 'model'),
    completionTokens: counter('completion_tokens_total', 'Tokens of settled answers', 'model'),
    promptLength: histogram(
      'prompt_length_tokens',
      'Tokens of the prompt of a completion',
      POWERS_OF_TWO,
      'model',
    ),
    completionLength: histogram(
      'completion_length_tokens',
      'Tokens of a completion',
      POWERS_OF_TWO,
      'model',
    ),

    answers: counter('answers_total', 'Settled answers by stop reason', 'model', 'stop_reason'),
    moves: counter(
      'metropolis_steps_total',
      'Steps that Metropolis judged, by outcome: accepted or rejected',
      'model',
      'outcome',
    ),
    terms: counter(
      'terms_total',
      'Terms of composed energies at the end of completions, by type and whether they were satisfied',
      'model',
      'type',
      'satisfied',
    ),
    answerSteps: histogram('answer_steps', 'Descent steps of an answer', STEPS, 'model'),
    descentsGivenUp: counter(
      'restarts_total',
      'Descents that gave their slots to new ones of the same answer, by why: steps, converged or diverged',
      'model',
      'reason',
    ),
    stepsGivenUp: counter(
      'restart_steps_total',
      'Descent steps of those descents',
      'model',
      'reason',
    ),
    answerSeconds: histogram(
      'answer_duration_seconds',
      'From the first step of an answer to its settling',
      WAIT_SECONDS,
      'model',
    ),
    energyFirst: histogram(
      'answer_energy_first',
      'Energy at the starting point of an answer',
      ENERGY,
      'model',
    ),
    energyLast: histogram('answer_energy_last', 'Energy of a settled answer', ENERGY, 'model'),
    energyDrop: histogram(
      'answer_energy_drop',
      'Energy at the starting point of an answer minus its energy when it settled',
      ENERGY,
      'model',
    ),

    ticks: counter('ticks_total', 'Batches that the engine ran', 'model'),
    tickRows: histogram('tick_rows', 'Rows that took a step in one tick', POWERS_OF_TWO, 'model'),
    steps: counter('refinement_steps_total', 'Descent steps of all rows', 'model'),
    stepSeconds: histogram(
      'step_duration_seconds',
      'Engine time of one descent step for all rows of its tick',
      STEP_SECONDS,
      'model',
    ),
    engineSeconds: counter('engine_seconds_total', 'Engine time by phase', 'model', 'phase'),
    observedTokens: counter('observed_tokens_total', 'Tokens that entered a context', 'model'),

    requests: gauge(
      'requests',
      'Requests by state: waiting, running, paused, or finished and held for an extension',
      'model',
      'state',
    ),
    slotsUsed: gauge('slots_used', 'Answer slots in use', 'model'),
    slots: gauge('slots', 'Answer slots in all', 'model'),
    cacheUsage: gauge('cache_usage_ratio', 'Share of the cache pages in use, 0 to 1', 'model'),
    prefixQueries: counter(
      'prefix_cache_queries_total',
      'Prompt tokens looked for among the pages of earlier contexts',
      'model',
    ),
    prefixHits: counter(
      'prefix_cache_hits_total',
      'Prompt tokens that were found among the pages of earlier contexts',
      'model',
    ),
    preemptions: counter(
      'preemptions_total',
      'Times that a request gave up its pages to others, to observe its context again later',
      'model',
    ),
    movedOut: counter(
      'answers_moved_out_total',
      'Times that an answer in descent was saved because others needed its slot, to go on later',
      'model',
    ),
    pagesUsed: gauge('cache_pages_used', 'Pages of the context cache in use', 'model'),
    pages: gauge('cache_pages', 'Pages of the context cache in all', 'model'),
    pagePositions: gauge('cache_page_positions', 'Positions that a page holds', 'model'),
    memory: gauge('engine_memory_bytes', 'Memory that the engine held when it was ready', 'model'),
    loads: counter('model_loads_total', 'Times that a model came into memory', 'model'),
    unloads: counter(
      'model_unloads_total',
      'Times that a model left memory: asked for by an administrator, or to make room for another',
      'model',
      'reason',
    ),
    checkpoints: counter(
      'checkpoints_total',
      'Checkpoints of responses in the background',
      'model',
    ),
    checkpointBytes: counter(
      'checkpoint_bytes_total',
      'Bytes of the states in these checkpoints',
      'model',
    ),
    checkpointSeconds: histogram(
      'checkpoint_duration_seconds',
      'That an engine took to save a response; its other work waits as long',
      [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, ...STEP_SECONDS],
      'model',
    ),
    resumed: counter(
      'responses_resumed_total',
      'Responses that went on from a checkpoint, after a restart of the server or of their engine',
      'model',
    ),
    repeatedSteps: counter(
      'response_steps_repeated_total',
      'Steps that readers had been shown and that were computed again, since the checkpoint was older',
      'model',
    ),
    fleetReplica: gauge(
      'fleet_replica',
      '1 while this server takes background responses that it shares with others; 0: it goes down, cannot reach their Redis, or shares none',
    ),
    fleetJobs: gauge(
      'fleet_jobs',
      'Background responses of all servers that share them, by state: waiting in the queue or running; each of these servers shows the same',
      'model',
      'state',
    ),
    fleetTaken: counter(
      'fleet_taken_total',
      'Background responses that this server took, by how: queued (new), left (another server went down in good order) or lost (another one did not answer)',
      'model',
      'how',
    ),
    fleetMoveSeconds: histogram(
      'fleet_move_duration_seconds',
      'From the moment when another server began to leave a response until this one took it',
      WAIT_SECONDS,
      'model',
    ),
    restarts: counter(
      'engine_restarts_total',
      'Workers that were started again, by what happened to the one before: died or stalled',
      'model',
      'reason',
    ),
    up: gauge('engine_up', '1 while the worker of a model runs, 0 while there is none', 'model'),
    sinceTick: gauge('engine_idle_seconds', 'Since the engine last answered or reported', 'model'),
    engine: gauge(
      'engine_info',
      'Always 1: the labels say which engine runs a model',
      'model',
      'engine',
      'backend',
      'threads',
    ),
    build: gauge('build_info', 'Always 1: the label says which version runs', 'version'),
  }
}
export type Instruments = ReturnType<typeof instrumentsIn>
