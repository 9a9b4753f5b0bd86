/** Stories of a text in which each begins with "Once upon a time", cut before their endings. */
import { readFileSync } from 'node:fs'

const MOST_PROMPT = 600
const OPENING = 'Once upon a time'

/** Stories as a prompt and its last sentence, which has at least 20 characters. */
export function storiesOf(path) {
  const [, ...parts] = readFileSync(path, 'utf8').split(OPENING)
  return parts.flatMap((part) => {
    const story = `${OPENING}${part}`.replaceAll('<|endoftext|>', '').trim()
    const at = story.slice(0, -20).search(/[.!?]["']?\s[^.!?]*[.!?]+["']?\s?[^.!?]*$/)
    const cut = at < 0 ? -1 : story.slice(at).search(/\s/) + at
    if (cut < 200) return []
    const before = story.slice(Math.max(0, cut - MOST_PROMPT), cut)
    // A prompt that does not begin with its story begins with a whole sentence.
    const prompt = cut > MOST_PROMPT ? before.slice(before.search(/[.!?]\s/) + 2) : before
    return [{ prompt, ending: ` ${story.slice(cut).trim()}` }]
  })
}
