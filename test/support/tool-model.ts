/** A model with random weights whose chat template knows tools, in the format of Hermes and Qwen. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeCheckpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { configOf } from './models.js'

/** The printable characters of ASCII, and the end of a line. */
const alphabet = ['\n', ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))]
const END = '<|endoftext|>'

const template = `{% if tools %}tools:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}{% for message in messages %}{{ message.role }}: {{ message.content }}
{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{% endfor %}{% endif %}{% endfor %}assistant: `

export function writeToolModel(root: string, name: string): string {
  const directory = join(root, name)
  mkdirSync(directory)
  const config = configOf({
    name,
    vocab_size: alphabet.length + 1,
    context_length: 2048,
    answer: { block: 1 },
  })
  writeCheckpoint(directory, { config, tensors: initialWeights(config, 1, 0.5) })
  const tokenizer = {
    format: 'basin-tokenizer/1',
    kind: 'characters',
    alphabet,
    special: { [END]: alphabet.length },
    bos: END,
  }
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer))
  const chat = { chat_template: template }
  writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(chat))
  return directory
}
