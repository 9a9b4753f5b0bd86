/** A table of Markdown, its columns aligned to the right. */
export const table = (heads, lines) =>
  [heads, heads.map(() => '---:'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
