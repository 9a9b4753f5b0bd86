/** Flags of the verbs that show an answer: what is asked for, and how it is found. */
import { Option, type Command } from 'commander'
import { type RestartPolicy, restartPolicies } from '../../refine/budget.js'
import type { ReasoningEffort } from '../../refine/presets.js'
import type { EnergyTerm } from '../../server/schemas/terms-schema.js'
import { integer, real } from './number-parsers.js'
import { appendTerms, parseCommit } from './json-options.js'
import { addStructureOptions, structureFields, type StructureFlags } from './structure-options.js'

export interface AnswerFlags extends StructureFlags {
  template?: string
  maxTokens: number
  temperature?: number
  topP?: number
  minP?: number
  repetitionPenalty?: number
  seed?: number
  steps?: number
  effort?: ReasoningEffort
  candidates?: number
  commit?: ReturnType<typeof parseCommit>
  restarts?: RestartPolicy | true
  after?: number
  noise?: number
  noiseSteps?: number
  term?: EnergyTerm[]
  slow?: true
}

/** Whoever runs a model here owns the machine: only what an answer can hold is bounded. */
export const caps = { maxSteps: 2 ** 31 - 1, maxSeconds: 86_400, candidates: 64 }

export const efforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'] as const

export const effortOption = (): Option =>
  new Option('--effort <name>', 'a preset of the step budget').choices(efforts)

export const seedOption = (): Option =>
  new Option('--seed <n>', 'the same seed gives the same text').argParser(integer(0, 2 ** 53 - 1))

export const temperatureOption = (): Option =>
  new Option(
    '--temperature <x>',
    "0: always the most probable token (default: the model's own)",
  ).argParser(real(0, 2))

export const keyOption = (): Option =>
  new Option('--key <key>', 'where the server asks for one (default: BASIN_KEY)')

export function addAnswerOptions(command: Command): Command {
  command
    .option('--template <text>', 'known text of the answer with blanks between')
    .option('--max-tokens <n>', 'most tokens', integer(1, 2 ** 31 - 1), 64)
    .addOption(temperatureOption())
    .option('--top-p <x>', 'the most probable tokens that make up this share', real(0, 1))
    .option('--min-p <x>', 'no token below this share of the most probable one', real(0, 1))
    .option(
      '--repetition-penalty <x>',
      'above 1: fewer tokens that the text has already',
      real(0.01, 100),
    )
    .addOption(seedOption())
  return addStructureOptions(command)
    .option(
      '--steps <n>',
      'largest number of descent steps of an answer',
      integer(0, caps.maxSteps),
    )
    .addOption(effortOption())
    .option(
      '--candidates <n>',
      'starting points of an answer, or descents at a time (default: 1, or 8 with restarts)',
      integer(1, caps.candidates),
    )
    .addOption(
      new Option(
        '--restarts [policy]',
        'descents that are over give way to new ones, until one reaches the energy target of the model; --steps counts those of all (default: mixed)',
      ).choices(restartPolicies),
    )
    .option(
      '--after <n>',
      "steps of a descent, with --restarts (default: the model's trained number)",
      integer(1, caps.maxSteps),
    )
    .option(
      '--commit <json>',
      'positions that become certain while the others go on, as refinement.commit of a request: {"share":0.25}',
      parseCommit,
    )
    .option('--noise <x>', 'standard deviation of the noise of each step', real(0, 1000))
    .option('--noise-steps <n>', 'noise in the first so many steps only', integer(0, caps.maxSteps))
    .option(
      '--term <json>',
      'a term to add to the energy, or a list of them, as energy_terms of a request (repeatable)',
      appendTerms,
    )
    .option('--slow', 'shows a few steps a second, on a terminal')
}

/** Restarts end at the energy target of the model, whatever the effort. */
function refinementOf(
  { after, candidates, commit, noise, noiseSteps, restarts, steps }: AnswerFlags,
  target: number | undefined,
) {
  const policy = restarts === true ? undefined : restarts
  return {
    ...(candidates !== undefined && { candidates }),
    ...(steps !== undefined && { max_steps: steps }),
    ...(noise !== undefined && { noise }),
    ...(noiseSteps !== undefined && { noise_steps: noiseSteps }),
    ...(commit && { commit }),
    ...(restarts !== undefined && {
      restarts: { ...(after !== undefined && { after }), ...(policy && { policy }) },
      ...(target !== undefined && { energy_target: target }),
    }),
  }
}

/**
 * The fields of a request. `target`: the energy target of the model. `drawn`: the certainty of each position is
 * wanted.
 */
export function answerFields(flags: AnswerFlags, target: number | undefined, drawn: boolean) {
  const { effort, maxTokens, minP, repetitionPenalty, seed, temperature, template, term, topP } =
    flags
  return {
    max_tokens: maxTokens,
    refinement: refinementOf(flags, target),
    ...structureFields(flags),
    ...(drawn && { logprobs: 1 }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(minP !== undefined && { min_p: minP }),
    ...(repetitionPenalty !== undefined && { repetition_penalty: repetitionPenalty }),
    ...(seed !== undefined && { seed }),
    ...(effort && { reasoning_effort: effort }),
    ...(template !== undefined && { template }),
    ...(term && { energy_terms: term }),
  }
}
