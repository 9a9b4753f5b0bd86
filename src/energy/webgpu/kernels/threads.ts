/** How the threads of a kernel divide a pass among them: the shapes of `main` that kernels share. */

/** Threads of a workgroup: vectors of a position by positions. */
export const vectorGroup = [16, 4] as const

/**
 * Chains of a long sum: equal parts of it, which are added up in order, so that one thread or as many threads as
 * there are chains come to the same bits. Threads of a workgroup that share them: vectors by chains.
 */
export const chains = 8
export const chainGroup = [16, chains] as const

/** Workgroups side by side, where each has one position: an adapter may allow no more than 65,535. */
export const positionsAcross = 32_768

/** Answers of a workgroup, where each thread has one. */
export const answerGroup = 64

/** One thread for each of `width` vectors of each position: `body` knows its vector `c`, `p`, `row` and `i`. */
export const perVector = (width: string, body: string): string => `
@compute @workgroup_size(${vectorGroup[0]}, ${vectorGroup[1]})
fn main(@builtin(global_invocation_id) g: vec3u) {
  let c = g.x;
  let p = g.y;
  if (c >= ${width} || p >= round.positions) { return; }
  let row = rowOf(p);
  let i = p % round.block;
${body}
}
`

/** One workgroup of `threads` threads for each position: `body` knows its thread `t`, `p`, `row` and `i`. */
export const perPosition = (body: string, threads = 64): string => `
@compute @workgroup_size(${String(threads)})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let p = group.x + group.y * ${String(positionsAcross)}u;
  if (p >= round.positions) { return; }
  let row = rowOf(p);
  let i = p % round.block;
${body}
}
`

/** Threads of a position that look at a whole vocabulary: the most that every adapter allows, where it is large. */
export const vocabThreads = (vocab: number): number => (vocab >= 4096 ? 256 : 64)

/** One thread for each answer: `body` knows `answer`, its number within the pass, and `row`. */
export const perAnswer = (body: string): string => `
@compute @workgroup_size(${answerGroup})
fn main(@builtin(global_invocation_id) g: vec3u) {
  let answer = g.x;
  if (answer >= round.answers) { return; }
  let row = rows[round.first + answer];
${body}
}
`
