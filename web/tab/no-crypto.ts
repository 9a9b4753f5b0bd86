/**
 * Stands in for `node:crypto` in the tab. Only the names of shared cache pages are made with it, and contexts
 * do not share pages there (tab-model.ts).
 */
export function createHash(): never {
  throw new Error('there are no digests in the tab: contexts must not share pages')
}
