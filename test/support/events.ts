/** Server-sent events of a whole body. */

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
