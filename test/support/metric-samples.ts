/** The sum of the samples of a metric in the text of /metrics. `label`: only samples that have it, such as `reason="died"`. */
export const sumOfSamples = (text: string, name: string, label = ''): number =>
  text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => line.includes(label))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
