/** Settles answers with the engine that also serves them, and scores every candidate at every budget. */
import { readFileSync } from 'node:fs'
import { loadAddon } from '../../dist/energy/native/addon.js'
import { openEngine } from '../../dist/energy/open-engine.js'
import { EngineCore } from '../../dist/generation/core/engine-core.js'
import { TermModels } from '../../dist/generation/core/terms/term-models.js'
import { landscapeOf } from '../../dist/model/config.js'
import { answerSeed } from '../../dist/refine/candidates.js'
import { resolveBudget } from '../../dist/refine/presets.js'
import { advance, beforeFirstStep, decide } from '../../dist/refine/stop.js'
import { encodeTemplate } from '../../dist/tokenizer/answer-template.js'
import { openTokenizer } from '../../dist/tokenizer/tokenizer.js'

/** An engine on the CPU: its figures can be compared, and its verbs have their results when they return. */
export const ENGINE = 'addon' in loadAddon() ? 'native' : 'tfjs'
/** Number of answers that descend together. */
export const SLOTS = 16
/** Answers of another model that are evaluated together. */
const OTHER_SLOTS = 16
/** Seed of the noise before the first step, by which candidates differ. */
export const SEED = 7
const NOISE = 1
/** No limits by an operator. */
const CAPS = { maxSteps: Infinity, maxSeconds: Infinity, candidates: 64 }

export const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`

export const readExamples = (path, rows) =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(0, rows)
    .map((line) => JSON.parse(line))

export async function openModel(directory) {
  const tokenizer = openTokenizer(directory)
  const engine = await openEngine({
    directory,
    engine: ENGINE,
    threads: 1,
    slots: SLOTS,
    contexts: 1,
    pages: 64,
  })
  engine.observe([{ contextId: 0, tokens: [tokenizer.bos], pages: [0] }])
  return { engine, tokenizer }
}

/**
 * The engine core that also serves requests. `holdSeconds`: of a finished answer. `others`: directories of models
 * whose energies are terms.
 */
export async function openCore(
  directory,
  { slots, contexts, pages, threads = 1, holdSeconds = 0, others = [] },
) {
  const tokenizer = openTokenizer(directory)
  const engine = await openEngine({ directory, engine: ENGINE, threads, slots, contexts, pages })
  const openOther = async (other) => ({
    engine: await openEngine({
      directory: other,
      engine: ENGINE,
      threads: 1,
      slots: OTHER_SLOTS,
      contexts: OTHER_SLOTS,
      pages: OTHER_SLOTS * 8,
    }),
    tokenizer: openTokenizer(other),
  })
  const termModels = new TermModels(openOther, tokenizer, engine.model.vocab_size)
  for (const other of others) await termModels.load(other)
  const options = { prefillChunk: 512, holdSeconds, pauseSeconds: 1, termModels }
  return { engine, core: new EngineCore(engine, tokenizer, options) }
}

/** A request for the core: `template` filled in with the most probable tokens, as one answer. */
export const coreRequest = ({ id, template, seed = 1, engine, budget, ...more }) => ({
  id,
  client: 'study',
  prompt: '',
  template,
  maxTokens: engine.model.answer.block,
  sampling: {
    temperature: 0,
    topP: 1,
    topK: 0,
    seed,
    presencePenalty: 0,
    frequencyPenalty: 0,
    logitBias: {},
  },
  stop: [],
  budget,
  reportSteps: false,
  hold: false,
  ...more,
})

/** The budget of `refinement` of a request, which ends at the model's energy target if it names no other. */
export function searchBudget(model, refinement, maxSteps) {
  const { energy_target: target } = model
  const asked = { ...(target !== undefined && { energy_target: target }), ...refinement }
  return resolveBudget(model, 'medium', { ...asked, max_steps: maxSteps }, CAPS)
}

/** A budget of so many steps from noise of unit deviation, with nothing that ends it earlier. */
export const noisyBudget = ({ maxSteps, candidates, ...more }) => ({
  maxSteps,
  minSteps: 0,
  patience: 3,
  candidates,
  select: 'min',
  noise: NOISE,
  noiseSteps: 1,
  keep: 'best',
  acceptLower: false,
  ...more,
})

/**
 * A `ScoredAnswer` (dist/train/evaluation/answer-scores.js) for each example, with scores
 * [budgets][candidates] of the best answer so far; and, of the first candidate, the steps at which it counts
 * as converged and reaches the model's energy target, and its last energy. A single candidate starts as the
 * model does, several from noise.
 */
export function scoreExamples({ engine, tokenizer }, examples, { budgets, candidates = 1 }) {
  const blank = engine.model.template?.blank ?? '_'
  const descents = examples.flatMap((example, row) => {
    const answer = tokenizer.encode(example.completion)
    const clamped = encodeTemplate(tokenizer, example.template, blank)
    return Array.from({ length: candidates }, (_, candidate) => ({
      row,
      candidate,
      clamped,
      answer,
      scores: [],
      parts: {},
      best: Infinity,
      progress: beforeFirstStep,
      convergedAt: undefined,
      onTargetAt: undefined,
    }))
  })
  for (let from = 0; from < descents.length; from += SLOTS)
    descendTogether(engine, descents.slice(from, from + SLOTS), budgets, candidates > 1 ? NOISE : 0)
  return examples.map(({ template: _, completion: __, ...facts }, row) => {
    const own = descents.filter((descent) => descent.row === row)
    const moving = own[0].clamped.filter((token) => token < 0).length
    const scores = budgets.map((_, budget) => own.map(({ scores }) => scores[budget]))
    const [{ convergedAt, onTargetAt, progress }] = own
    return { moving, facts, scores, convergedAt, onTargetAt, lastEnergy: progress.final }
  })
}

function descendTogether(engine, descents, budgets, noise) {
  engine.begin(
    descents.map(({ row, candidate, clamped }, slot) => {
      return { slot, contextId: 0, seed: answerSeed(SEED, row), candidate, clamped }
    }),
  )
  const most = Math.max(...budgets)
  /** The conditions that end one descent of effort `max`. */
  const { energyTarget, ...rest } = resolveBudget(engine.model, 'max', { restarts: null }, CAPS)
  for (let step = 0; step < most; step++) {
    const landscape = landscapeOf(engine.model, step)
    const results = engine.descend(
      descents.map((_, slot) => ({ slot, landscape, noise: step === 0 ? noise : 0, step })),
    )
    results.forEach((result, slot) => {
      const descent = descents[slot]
      if (result.best < descent.best)
        Object.assign(descent, { best: result.best, parts: result.parts ?? {} })
      descent.progress = advance(descent.progress, result, rest)
      if (decide(rest, descent.progress, 0) === 'converged') descent.convergedAt ??= step + 1
      if (result.best <= (energyTarget ?? -Infinity)) descent.onTargetAt ??= step + 1
    })
    if (budgets.includes(step + 1)) record(engine, descents)
  }
}

function record(engine, descents) {
  const readings = engine.read(descents.map((_, slot) => ({ slot, which: 'best', top: 1 })))
  readings.forEach(({ tokens }, slot) => {
    const { answer, clamped, scores, best, parts } = descents[slot]
    const right = answer.filter((token, i) => clamped[i] < 0 && tokens[i] === token).length
    const solved = answer.every((token, i) => tokens[i] === token)
    scores.push({ energy: best, ...parts, nats: NaN, right, solved })
  })
}
