/** Texts on which tokenizers tend to fail. */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { uniform } from '../../src/refine/random.js'
import { openTokenizer, type Tokenizer } from '../../src/tokenizer/tokenizer.js'
import {
  DEFAULT_PATTERN,
  END_OF_TEXT,
  trainBpe,
  writeTokenizer,
} from '../../src/tokenizer/bpe-training.js'

export const story =
  'Once upon a time there was a little girl. She didn’t know why the wind blew, and the wind ' +
  "didn't know either. One day, the girl and the wind went to the forest, the dark forest.\n\n"

/** Text from random bytes. Much of it is not UTF-8 and so becomes U+FFFD. */
const randomText = (seed: number, length: number): string =>
  new TextDecoder().decode(
    Uint8Array.from({ length }, (_, i) => Math.floor(256 * uniform(seed, 0, i))),
  )

/** Code points of all planes, without surrogates. */
const randomCodePoints = (seed: number, length: number): string =>
  String.fromCodePoint(
    ...Array.from({ length }, (_, i) => Math.floor(0x110000 * uniform(seed, 1, i))).filter(
      (point) => point < 0xd800 || point > 0xdfff,
    ),
  )

export const samples: readonly string[] = [
  '',
  ' ',
  story,
  '👩‍👩‍👧‍👦 🇩🇪 👍🏽 😀😁',
  'e\u0301 a\u0308\u0323 ก็ นี้ हिन्दी',
  '中文字符，日本語のテキスト。한국어',
  'العربية עברית',
  "I'M THEY'LL we'Re it''s 'tis",
  '12,345.678 ٣٤٥ Ⅷ ½ x2y3',
  ' leading,  double,   triple \t\ttabs\n\n\r\nlines \u00a0\u3000\u0085\u2028\ufeff end ',
  '\u0000\u0001\u007f\ufffd\uffff',
  `${END_OF_TEXT} <|endoftext|`,
  '__proto__ constructor',
  'a'.repeat(2000) + ' '.repeat(2000) + '😀'.repeat(600) + 'x!?'.repeat(700),
  randomText(1, 3000),
  randomCodePoints(2, 500),
]

export const trainSmall = () =>
  trainBpe([...samples, ...Array.from({ length: 20 }, () => story)], {
    vocabSize: 600,
    pattern: DEFAULT_PATTERN,
    special: [END_OF_TEXT, '<|pad|>'],
  })

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), 'basin-tokenizer-'))

export function openSmall(): Tokenizer {
  const directory = temporaryDirectory()
  writeTokenizer(directory, trainSmall(), END_OF_TEXT)
  return openTokenizer(directory)
}
