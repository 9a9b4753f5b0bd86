/** A model that is exported and imported again is the same, for every kind that the reference can express. */
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { exportReference } from '../../src/model/export/reference-export.js'
import { ZipWriter } from '../../src/model/export/zip-writer.js'
import { openReference } from '../../src/model/import/reference-import.js'
import { ZipArchive } from '../../src/model/import/zip-reader.js'
import { openCheckpoint, writeCheckpoint, type Checkpoint } from '../../src/model/checkpoint.js'
import { initialWeights } from '../../src/train/initial-weights.js'
import { golden } from '../support/golden.js'
import { configOf, modelOf } from '../support/models.js'

const temporary = () => mkdtempSync(join(tmpdir(), 'basin-export-'))
const elsewhere = { name: 'other', description: 'other', created: 1 }

function exported(checkpoint: Checkpoint): string {
  const directory = temporary()
  writeCheckpoint(directory, checkpoint)
  const path = join(directory, 'model.ckpt')
  exportReference(directory, path, { tokenizer: 'some/tokenizer' })
  return path
}

/** Exports a model, imports the result and writes it to the disk. */
function roundTrip(checkpoint: Checkpoint) {
  const imported = openReference(exported(checkpoint), { identity: elsewhere })
  const directory = temporary()
  writeCheckpoint(directory, imported)
  imported.close()
  return { ...openCheckpoint(directory), directory }
}

const vocab = { space: 'vocab', block: 1, embed: 'vocab_to_embed', start: 'noise' } as const
const head = { kind: 'head', direction: 'exact', doubt: 0 } as const
const variant = (overrides: Parameters<typeof configOf>[0]): Checkpoint => {
  const config = configOf({ ...overrides, energy: head, answer: { ...vocab, ...overrides.answer } })
  return { config, tensors: initialWeights(config, 3, 0.7) }
}

const kinds: [string, Checkpoint][] = [
  ...['default', 'time_embed', 'adaln', 'prob_dist_embed', 'unnormalized'].map(
    (folder): [string, Checkpoint] => [`golden ${folder}`, golden(folder)],
  ),
  ['a model of the tests', variant({})],
  ['repeated last landscape', variant({ conditioning: 'time_embed', landscapes: 2, steps: 5 })],
  ['one landscape, many steps', variant({ conditioning: 'adaln', landscapes: 1, steps: 4 })],
  ['first step only', variant({ answer: { normalize: 'first_step' }, steps: 3 })],
  ['first step of one', variant({ answer: { normalize: 'first_step' }, steps: 1 })],
  ['never, from zeros', variant({ answer: { normalize: 'never', start: 'zeros' } })],
  ['tied embedding', variant({ answer: { normalize: 'every_step', embed: 'embeddings' } })],
  [
    'scaled noise and a template',
    variant({ answer: { start_scale: 0.25 }, template: { blank: '_' }, temperature: 0 }),
  ],
  ...[1, 7, 15, 17, 21, 29, 31, 33, 50, 127].map((ffn): [string, Checkpoint] => [
    `ffn_dim ${ffn}`,
    variant({ dim: 16, ffn_dim: ffn }),
  ]),
]

describe('export and import again', () => {
  it.each(kinds)('%s', (_, checkpoint) => {
    const back = roundTrip(checkpoint)
    expect(back.config).toEqual(checkpoint.config)
    expect(back.tensors).toEqual(new Map(checkpoint.tensors))
  })

  it('write the same bytes the second time', () => {
    const { directory } = roundTrip(golden('adaln'))
    const again = join(directory, 'again.ckpt')
    exportReference(directory, again, { tokenizer: 'some/tokenizer' })
    expect(readFileSync(again)).toEqual(readFileSync(exported(golden('adaln'))))
  })

  it('keep the noise of training, which Basin itself does not use', () => {
    const { config, tensors } = golden('default')
    const noise = { shape: [], data: Float32Array.of(3) }
    const all = new Map([...tensors, ['langevin_dynamics_noise_std', noise]] as const)
    const imported = openReference(exported({ config, tensors: all }), { identity: elsewhere })
    expect(imported.tensors.get('langevin_dynamics_noise_std')?.data).toEqual(Float32Array.of(3))
    expect(imported.hyperparameters['langevin_dynamics_noise']).toBe(3)
    imported.close()
  })
})

describe('what the reference cannot express', () => {
  const refused: [string, Checkpoint][] = [
    ['answer.space latent', modelOf('latent residual amortized, K 4')],
    ['answer.block 4', modelOf('vocab head, K 4, adaln')],
    ['conditioning candidate', variant({ conditioning: 'candidate', landscapes: 2 })],
    ['norm_eps 0.001', variant({ norm_eps: 0.001 })],
    ['rope_theta 500', variant({ rope_theta: 500 })],
    ['steps 1 below landscapes 2', variant({ conditioning: 'adaln', landscapes: 2, steps: 1 })],
    [
      'embeddings with normalize never',
      variant({ answer: { normalize: 'never', embed: 'embeddings' } }),
    ],
    [
      'first_step with one landscape',
      variant({ answer: { normalize: 'first_step' }, conditioning: 'adaln', steps: 2 }),
    ],
  ]
  it.each(refused)('%s', (reason, checkpoint) => {
    const directory = temporary()
    writeCheckpoint(directory, checkpoint)
    const path = join(directory, 'model.ckpt')
    expect(() => exportReference(directory, path, { tokenizer: 't' })).toThrow(reason)
    expect(existsSync(path)).toBe(false)
  })
})

describe('zip archives', () => {
  it('are read as they were written, with and without zip64 fields', () => {
    for (const zip64From of [0, 100, 0xffffffff]) {
      const path = join(temporary(), 'archive')
      const entries = Array.from(
        { length: 5 },
        (_, i) => [`a/${i}`, Buffer.alloc(i * 50, i)] as const,
      )
      const zip = new ZipWriter(path, zip64From)
      for (const [name, data] of entries) zip.add(name, data)
      zip.finish()
      zip.close()
      const archive = ZipArchive.open(path)
      expect(archive.names).toEqual(entries.map(([name]) => name))
      for (const [name, data] of entries)
        expect(Buffer.from(archive.read(name, 1000))).toEqual(data)
      archive.close()
    }
  })

  it('align the data of entries to 64 bytes', () => {
    const bytes = readFileSync(exported(golden('default')))
    const alpha = golden('default').tensors.get('embeddings.weight')?.data ?? new Float32Array(0)
    const at = bytes.indexOf(Buffer.from(alpha.buffer, alpha.byteOffset, alpha.byteLength))
    expect(at).toBeGreaterThan(0)
    expect(at % 64).toBe(0)
  })
})
