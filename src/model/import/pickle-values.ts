/** The values that a pickle may contain, as plain data. */
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

/** A dict, an ordered dict, or an object that consists of its attributes only. */
export class Dict {
  entries = new Map<Value, Value>()
  constructor(readonly holdsAttributes = false) {}

  get(key: string): Value | undefined {
    return this.entries.get(key)
  }
}

/** A value of an allowed kind whose content is ignored. */
export class Inert {
  constructor(readonly kind: string) {}
}

/** Entry `data/<key>` of the archive: a number of elements of one type. */
export class StorageRef {
  constructor(
    readonly key: string,
    readonly dtype: Dtype,
    readonly elements: number,
  ) {}
}

/** A view into a storage. Offset and strides count elements. */
export class TensorRef {
  constructor(
    readonly storage: StorageRef,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** An entry of the allow-list (pickle-globals.ts). */
export interface Global {
  readonly name: string
  /** The element type, if the global is a storage class. */
  readonly storage?: Dtype
  /** The result of calling it; undefined if the arguments are wrong. */
  readonly make?: (args: readonly Value[]) => Value | undefined
}
