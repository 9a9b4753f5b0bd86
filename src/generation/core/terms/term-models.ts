/**
 * The other models of a worker, whose energies are terms of its requests. Each is opened once, when a request
 * first asks for it, and stays until the worker is closed.
 */
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import { type OpenedModel, TermModel } from './term-model.js'

export class TermModels {
  private readonly opening = new Map<string, Promise<TermModel>>()
  private readonly opened = new Map<string, TermModel>()

  constructor(
    private readonly open: (directory: string) => Promise<OpenedModel>,
    /** Of the model that descends. */
    private readonly tokenizer: Tokenizer,
    /** Tokens of its read-out. */
    private readonly vocab: number,
  ) {}

  /** Rejects with what is wrong with the model in `directory`; the next request tries again. */
  async load(directory: string): Promise<void> {
    if (this.opened.has(directory)) return
    const opening = this.opening.get(directory) ?? this.start(directory)
    this.opening.set(directory, opening)
    try {
      this.opened.set(directory, await opening)
    } finally {
      this.opening.delete(directory)
    }
  }

  /** Undefined where it has not been loaded. */
  find(directory: string): TermModel | undefined {
    return this.opened.get(directory)
  }

  /** Bytes of memory that their engines hold. */
  memory(): number {
    return [...this.opened.values()].reduce((sum, { opened }) => sum + opened.engine.memory(), 0)
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.opening.values())
    for (const model of this.opened.values()) await model.close()
  }

  private async start(directory: string): Promise<TermModel> {
    return TermModel.of(await this.open(directory), this.tokenizer, this.vocab)
  }
}
