/** Pages of the context cache. */
import type { ModelConfig } from '../model/config.js'

/** Positions of a page, the same for every engine. */
export const PAGE_POSITIONS = 16

/** Pages that a context of the full length takes. */
export const pagesPerContext = ({ context_length: positions }: ModelConfig): number =>
  Math.ceil(positions / PAGE_POSITIONS)
