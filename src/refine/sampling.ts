/** How tokens are chosen from a settled answer's logits. Field meanings follow the OpenAI API. */
export interface Sampling {
  /** 0: the most probable token, ties to the lowest id. */
  temperature: number
  topP: number
  /** 0: no limit. */
  topK: number
  seed: number
  presencePenalty: number
  frequencyPenalty: number
  /** Added to the logits, -100..100, by token id. */
  logitBias: Readonly<Record<number, number>>
}
