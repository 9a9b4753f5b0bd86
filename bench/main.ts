/**
 * Runs a benchmark by its name:
 *
 *   npm run bench -- [name] [flags]
 *
 * Without a name it is `steps`. With --help alone, all benchmarks are listed before the flags of `steps`.
 */
const benchmarks = {
  steps: 'time of a descent step, beside the limit that the machine sets and the tfjs engine',
  onnxruntime: 'time of a descent step, beside the same step as a graph of ONNX Runtime',
  overhead: "time that serving takes beside the engine's own time",
  fleet: 'what it costs to share background responses through Redis',
  checkpoints: 'time of a checkpoint of an answer in the background, beside that of a step',
  responsiveness: 'latency of a server whose engines are busy, beside that of an idle one',
  page: 'frames a second of the page while many answers settle, and the wait for its first picture',
  training: 'time of a training update, beside the peak of the machine, by backend',
  'mixed-load': 'steps for each right answer of easy and hard boards, with and without early ends',
  structure: 'time of a token of a text that must match a grammar, and whether it does',
  'key-timing': 'whether the time of a refusal tells how much of an API key was right',
  'native-memory': 'whether the memory of the native engine grows from step to step',
  'native-weights': 'errors of bf16 and int8 weights and context caches, beside float32',
} as const

const isBenchmark = (name: string): name is keyof typeof benchmarks =>
  Object.hasOwn(benchmarks, name)

const [, , first = ''] = process.argv
const named = first !== '' && !first.startsWith('-')
if (named) process.argv.splice(2, 1)
if (named && !isBenchmark(first)) {
  const names = Object.keys(benchmarks).join(', ')
  console.error(`bench: there is no benchmark ${first}; there are ${names}`)
  process.exit(2)
}
if (!named && (first === '--help' || first === '-h')) {
  const lines = Object.entries(benchmarks).map(
    ([name, about]) => `  ${name.padEnd('responsiveness'.length)}  ${about}`,
  )
  console.log(['npm run bench -- [benchmark] [flags]', '', ...lines, ''].join('\n'))
}
await import(`./${named ? first : 'steps'}.js`)
