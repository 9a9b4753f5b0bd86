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

/** Numbers in the state of one answer position: V in vocab space, D in latent space. */
export const stateWidth = (config: Sizes): number =>
  config.answer.space === 'vocab' ? config.vocab_size : config.dim

/** How many caches a context needs: one for each landscape, if the observed stream depends on the landscape. */
export const contextCaches = (config: Conditioned): number =>
  config.conditioning === 'time_embed' || config.conditioning === 'adaln' ? config.landscapes : 1

/** Whether y_0 is read from the observed stream at the last token, as a causal model predicts the next one. */
export const draftsFromContext = (config: {
  answer: { draft?: 'queries' | 'observed' }
}): boolean => config.answer.draft === 'observed'

/** RoPE position of the first observed token: position 0 is the step token's where there is one (`time_embed`). */
export const contextOffset = (config: Pick<Conditioned, 'conditioning'>): number =>
  config.conditioning === 'time_embed' ? 1 : 0

/** The landscape of a step (0-based): the last one for steps beyond it. */
export const landscapeOf = (config: Pick<Conditioned, 'landscapes'>, step: number): number =>
  Math.min(step, config.landscapes - 1)

/**
 * The size of step `step` (0-based) at inference; `alpha` is the trained size. With `repeat` it is a
 * schedule with warm restarts (Loshchilov and Hutter 2017), linear where theirs is a cosine.
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
