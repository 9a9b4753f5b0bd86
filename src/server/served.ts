/** The models that this server answers with, by the names that requests use. */
import { BasinError } from '../errors.js'
import type { Generation } from '../generation/client.js'

export class ServedModels {
  constructor(
    readonly byName: ReadonlyMap<string, Generation>,
    /** Answers requests that name none; one of `byName`. */
    readonly defaultName: string,
  ) {}

  /** Throws `model_not_found`. */
  pick(name: string | null | undefined): Generation {
    const model = name ?? this.defaultName
    const generation = this.byName.get(model)
    if (generation) return generation
    throw new BasinError('model_not_found', {
      param: 'model',
      model,
      served: [...this.byName.keys()].join(', '),
    })
  }
}
