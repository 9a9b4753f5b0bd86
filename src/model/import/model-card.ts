/** The model card of an import: its source, its sizes, and the request that repeats its inference settings. */
import { parameterCount } from '../checkpoint.js'
import type { ModelConfig } from '../config.js'
import type { ReferenceBudget } from './reference-budget.js'
import type { Hyperparameters } from './hyperparameters.js'

export function modelCard(
  config: ModelConfig,
  source: string,
  budget: ReferenceBudget,
  hyperparameters: Hyperparameters,
): string {
  const { conditioning, context_length, dim, ffn_dim, heads, landscapes, layers } = config
  const settings = Object.entries(hyperparameters)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
  return `# ${config.name}

${config.description}

Imported from \`${source}\` by \`basin convert\`. Nothing about its quality was measured here.

- ${parameterCount(config).toLocaleString('en')} parameters: ${layers} layers, width ${dim}, ${heads} heads, FFN ${ffn_dim}, vocabulary ${config.vocab_size}, context ${context_length}
- conditioning \`${conditioning}\` with ${landscapes} landscape${landscapes > 1 ? 's' : ''}, trained for ${config.steps} steps
- the settings it was saved with, as the \`refinement\` of a request: \`${JSON.stringify(budget)}\`

## Settings of its training

\`\`\`
${settings.join('\n') || 'none in the file'}
\`\`\`
`
}
