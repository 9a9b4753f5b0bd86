/** Server-sent events of a whole body, or of one that is still being sent. */

/** The data of each event; `[DONE]` stays text. */
export const eventsOf = <T>(body: string): (T | '[DONE]')[] =>
  body
    .split('\n\n')
    .filter((event) => event !== '')
    .filter((event) => !event.startsWith(':'))
    .map((event) => {
      const data = event.replace(/^data: /, '')
      return data === '[DONE]' ? data : (JSON.parse(data) as T)
    })

/** The data of each event of a response as it arrives. Throws where the connection breaks. */
export async function* streamedEvents<T>(reply: Response): AsyncGenerator<T> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of reply.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      const data = part.split('\n').find((line) => line.startsWith('data: '))
      if (data) yield JSON.parse(data.slice(6)) as T
    }
  }
}
