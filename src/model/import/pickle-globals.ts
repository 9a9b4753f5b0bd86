/**
 * The allow-list of pickle globals, under the names that torch, Lightning and Python's standard library
 * write. No code of theirs runs: each global is a rule in this file that turns arguments into data.
 */
import type { Dtype } from '../safetensors.js'
import {
  Dict,
  Inert,
  StorageRef,
  TensorRef,
  Tuple,
  type Global,
  type Value,
} from './pickle-values.js'

const MAX_RANK = 8

const storages: Readonly<Record<string, Dtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}

const counts = (value: Value | undefined): readonly number[] | undefined => {
  if (!(value instanceof Tuple) || value.items.length > MAX_RANK) return undefined
  const valid = value.items.every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0)
  return valid ? (value.items as readonly number[]) : undefined
}

/** (storage, offset, shape, strides, requires_grad, hooks) */
function tensor([storage, offset, size, stride]: readonly Value[]): TensorRef | undefined {
  const [shape, strides] = [counts(size), counts(stride)]
  if (!(storage instanceof StorageRef) || !shape || shape.length !== strides?.length)
    return undefined
  if (typeof offset !== 'number' || !Number.isSafeInteger(offset) || offset < 0) return undefined
  return new TensorRef(storage, offset, shape, strides)
}

const parameter = ([data]: readonly Value[]) => (data instanceof TensorRef ? data : undefined)
const mapping = (args: readonly Value[]) => (args.length === 0 ? new Dict() : undefined)
const attributes = (args: readonly Value[]) => (args.length === 0 ? new Dict(true) : undefined)

const makers: Readonly<Record<string, NonNullable<Global['make']>>> = {
  'torch._utils._rebuild_tensor_v2': tensor,
  'torch._utils._rebuild_parameter': parameter,
  'collections.OrderedDict': mapping,
  'pytorch_lightning.utilities.parsing.AttributeDict': mapping,
  'lightning_fabric.utilities.data.AttributeDict': mapping,
  'lightning.fabric.utilities.data.AttributeDict': mapping,
  'argparse.Namespace': attributes,
}

/** Globals that occur in optimizer states, callbacks and settings. The importer ignores their values. */
const inert = [
  ...['set', 'frozenset', 'bytearray'].flatMap((name) => [
    `builtins.${name}`,
    `__builtin__.${name}`,
  ]),
  ...['defaultdict', 'Counter', 'deque'].map((name) => `collections.${name}`),
  ...['PosixPath', 'PurePosixPath', 'WindowsPath', 'Path'].map((name) => `pathlib.${name}`),
  ...['datetime', 'timedelta', 'date'].map((name) => `datetime.${name}`),
  ...['Size', 'device', 'dtype', 'float32', 'float16', 'bfloat16', 'float64', 'int64'].map(
    (name) => `torch.${name}`,
  ),
  ...['multiarray.scalar', 'multiarray._reconstruct'].flatMap((name) => [
    `numpy.core.${name}`,
    `numpy._core.${name}`,
  ]),
  'numpy.dtype',
  'numpy.ndarray',
  '_codecs.encode',
]

const globals: ReadonlyMap<string, Global> = new Map(
  [
    ...Object.entries(storages).map(([name, storage]) => ({ name: `torch.${name}`, storage })),
    ...Object.entries(makers).map(([name, make]) => ({ name, make })),
    ...inert.map((name) => ({ name, make: () => new Inert(name) })),
  ].map((global: Global) => [global.name, Object.freeze(global)]),
)

const all: ReadonlySet<unknown> = new Set(globals.values())

export const findGlobal = (module: string, name: string): Global | undefined =>
  globals.get(`${module}.${name}`)

export const isGlobal = (value: Value | undefined): value is Global => all.has(value)
