/** A Prometheus exposition as numbers. */

export interface Sample {
  name: string
  labels: Readonly<Record<string, string>>
  value: number
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g

export function parseMetrics(text: string): Sample[] {
  return text.split('\n').flatMap((line): Sample[] => {
    const match = LINE.exec(line)
    if (!match) return []
    const [, name = '', inner = '', value = ''] = match
    const labels = Object.fromEntries(
      [...inner.matchAll(LABEL)].map(([, key = '', said = '']) => [key, said]),
    )
    return [{ name, labels, value: Number(value) }]
  })
}

/** The sum of the samples of a name whose labels are these. */
export const sumOf = (
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number =>
  samples
    .filter(
      (each) =>
        each.name === name &&
        Object.entries(labels).every(([label, value]) => each.labels[label] === value),
    )
    .reduce((sum, { value }) => sum + value, 0)
