/** What a response has said, as the server types it or as the client does. */
interface Item {
  type: string
  content?: readonly { text: string }[]
}

export const outputText = ({ output }: { output: readonly Item[] }): string =>
  output.flatMap(({ content = [] }) => content.map(({ text }) => text)).join('')
