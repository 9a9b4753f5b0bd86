/** What a pickle can hold, as inert data. */
import type { Dtype } from '../safetensors.js'

export type Value =
  | null
  | boolean
  | number
  | string
  | Value[]
  | Tuple
  | Dict
  | Inert
  | StorageRef
  | TensorRef
  | Global

export class Tuple {
  constructor(readonly items: readonly Value[]) {}
}

/** A dict, an ordered one, or an object that is nothing but its attributes. */
export class Dict {
  entries = new Map<Value, Value>()
  constructor(readonly holdsAttributes = false) {}

  get(key: string): Value | undefined {
    return this.entries.get(key)
  }
}

/** A value of an allowed kind that no importer looks into. */
export class Inert {
  constructor(readonly kind: string) {}
}

/** An entry `data/<key>` of the archive, as so many elements. */
export class StorageRef {
  constructor(
    readonly key: string,
    readonly dtype: Dtype,
    readonly elements: number,
  ) {}
}

/** A view into a storage; offset and strides in elements. */
export class TensorRef {
  constructor(
    readonly storage: StorageRef,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** A name of the allow-list (globals.ts). */
export interface Global {
  readonly name: string
  /** Element type, of a storage class. */
  readonly storage?: Dtype
  /** What a call gives; undefined where the arguments are not those it takes. */
  readonly make?: (args: readonly Value[]) => Value | undefined
}
