/** Most seconds that one frame plays: a tab in the background gets no frames, and goes on where it was. */
const LONGEST_S = 0.25

/** Calls `act` in each frame with the seconds since the last one. Returns what ends it. */
export function eachFrame(act: (seconds: number, now: number) => void): () => void {
  let before = performance.now()
  let frame = requestAnimationFrame(function tick(now) {
    const seconds = Math.min(LONGEST_S, (now - before) / 1000)
    before = now
    act(seconds, now)
    frame = requestAnimationFrame(tick)
  })
  return () => cancelAnimationFrame(frame)
}
