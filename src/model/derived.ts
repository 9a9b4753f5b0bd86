/**
 * What follows from a configuration. Apart from its schema, and without imports, so that an engine in a
 * browser has it without the schema's library and without files.
 */

interface Sizes {
  vocab_size: number
  dim: number
  answer: { space: 'vocab' | 'latent' }
}

interface Conditioned {
  conditioning: 'none' | 'time_embed' | 'adaln' | 'candidate'
  landscapes: number
}

interface Decaying {
  step_decay?: { from: number; steps: number; start?: number; repeat?: boolean }
}

/** Width of one answer position's state: V in vocab space, D in latent space. */
export const stateWidth = (config: Sizes): number =>
  config.answer.space === 'vocab' ? config.vocab_size : config.dim

/** Caches a sequence needs: the observed stream depends on the landscape only where every token sees it. */
export const contextCaches = (config: Conditioned): number =>
  config.conditioning === 'time_embed' || config.conditioning === 'adaln' ? config.landscapes : 1

/** Whether y_0 is the observed stream's own opinion of the next token, as a causal model's would be. */
export const draftsFromContext = (config: {
  answer: { draft?: 'queries' | 'observed' }
}): boolean => config.answer.draft === 'observed'

/** RoPE position of the first observed token: the step token of `time_embed` takes position 0. */
export const contextOffset = (config: Pick<Conditioned, 'conditioning'>): number =>
  config.conditioning === 'time_embed' ? 1 : 0

/** The landscape of a step (0-based), clamped to the last one a model has. */
export const landscapeOf = (config: Pick<Conditioned, 'landscapes'>, step: number): number =>
  Math.min(step, config.landscapes - 1)

/**
 * The step size of a step (0-based) of inference, where training gave `alpha`. Repeated, it is a
 * schedule with warm restarts (Loshchilov and Hutter 2017), of a line where theirs has a cosine.
 */
export function trainedStepSize(
  { step_decay: decay }: Decaying,
  alpha: number,
  step: number,
): number {
  if (!decay) return alpha
  const { from, repeat = false, start = 0, steps } = decay
  if (step < start) return alpha
  const since = repeat ? (step - start) % steps : step - start
  return alpha * (1 + (from - 1) * Math.max(0, 1 - since / steps))
}
