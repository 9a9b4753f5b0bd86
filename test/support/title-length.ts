/** Fails every test whose title, or that of a suite around it, is too long to read. A setup file. */
import { beforeEach } from 'vitest'

export const MAX_TITLE_CHARACTERS = 200

beforeEach(({ task }) => {
  for (
    let at: { name: string; suite?: { name: string } | undefined } | undefined = task;
    at;
    at = at.suite
  )
    if (at.name.length > MAX_TITLE_CHARACTERS)
      throw new Error(
        `a title has ${String(at.name.length)} characters, ${String(MAX_TITLE_CHARACTERS)} are allowed: ` +
          `${at.name.slice(0, 80)}...`,
      )
})
