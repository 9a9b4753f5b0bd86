/** Server-sent events: from the bytes of a reply to the data of each event. */

/** Ends early, without an error, where the bytes do: whoever reads knows which event is the last. */
export async function* dataOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let unread = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      unread += decoder.decode(value, { stream: true })
      const events = unread.split('\n\n')
      unread = events.pop() ?? ''
      for (const event of events) {
        const lines = event.split('\n').filter((line) => line.startsWith('data:'))
        if (lines.length > 0) yield lines.map((line) => line.slice(5).trimStart()).join('\n')
      }
    }
  } finally {
    // Whoever stops reading ends the request.
    await reader.cancel().catch(() => undefined)
  }
}
