import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Of the folders whose tests start servers, browsers and GPU drivers: their files take longest. */
const long = /^test\/(e2e|page|webgpu)\//

/** Begins with the longest files, so that the last worker does not end with one of them alone. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number =>
      long.test(relative(import.meta.dirname, moduleId)) ? 0 : 1
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Long enough for what another file computes meanwhile.
    expect: { poll: { timeout: 20_000 } },
    setupFiles: ['test/support/title-length.ts'],
    // At least two files at a time: while one waits for a server, a browser or a timer, another one computes.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
  },
})
