/** Writes the pickle of a checkpoint, in protocol 2: plain data, and tensors as torch describes them. */

/** A float32 tensor whose row-major elements are entry `data/<key>` of the archive. */
export class TensorEntry {
  constructor(
    readonly key: string,
    readonly shape: readonly number[],
  ) {}
}

/** A number that Python must read as a float even if it is an integer. */
export class Float {
  constructor(readonly value: number) {}
}

export type Picklable =
  | null
  | boolean
  | number
  | string
  | Float
  | TensorEntry
  | readonly Picklable[]
  | { readonly [key: string]: Picklable }

export function writePickle(value: Picklable): Buffer {
  const parts: Buffer[] = [Buffer.from([0x80, 2])]
  put(parts, value)
  parts.push(op('.'))
  return Buffer.concat(parts)
}

const op = (character: string): Buffer => Buffer.from(character, 'latin1')

function put(parts: Buffer[], value: Picklable): void {
  if (value === null) parts.push(op('N'))
  else if (typeof value === 'boolean') parts.push(op(value ? '\x88' : '\x89'))
  else if (typeof value === 'string') parts.push(text(value))
  else if (typeof value === 'number') parts.push(Number.isInteger(value) ? int(value) : real(value))
  else if (value instanceof Float) parts.push(real(value.value))
  else if (value instanceof TensorEntry) putTensor(parts, value)
  else if (isList(value)) putList(parts, value)
  else putDict(parts, value)
}

const isList = (value: object): value is readonly Picklable[] => Array.isArray(value)

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const head = Buffer.alloc(5)
  head.write('X', 'latin1')
  head.writeUInt32LE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

/** BININT if the integer fits 32 bits, else LONG1 with 8 bytes. */
function int(value: number): Buffer {
  const small = value >= -(2 ** 31) && value < 2 ** 31
  const bytes = Buffer.alloc(small ? 5 : 10)
  if (small) {
    bytes.write('J', 'latin1')
    bytes.writeInt32LE(value, 1)
    return bytes
  }
  bytes.write('\x8a\x08', 'latin1')
  bytes.writeBigInt64LE(BigInt(value), 2)
  return bytes
}

function real(value: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes.write('G', 'latin1')
  bytes.writeDoubleBE(value, 1)
  return bytes
}

function putList(parts: Buffer[], values: readonly Picklable[]): void {
  parts.push(op(']('))
  for (const value of values) put(parts, value)
  parts.push(op('e'))
}

function putDict(parts: Buffer[], values: { readonly [key: string]: Picklable }): void {
  parts.push(op('}('))
  for (const [key, value] of Object.entries(values)) {
    parts.push(text(key))
    put(parts, value)
  }
  parts.push(op('u'))
}

function tuple(numbers: readonly number[]): Buffer {
  return Buffer.concat([op('('), ...numbers.map(int), op('t')])
}

/** _rebuild_tensor_v2(storage, 0, shape, strides, requires_grad=False, hooks=OrderedDict()) */
function putTensor(parts: Buffer[], { key, shape }: TensorEntry): void {
  const elements = shape.reduce((a, b) => a * b, 1)
  const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1))
  parts.push(op('ctorch._utils\n_rebuild_tensor_v2\n(('), text('storage'))
  parts.push(op('ctorch\nFloatStorage\n'), text(key), text('cpu'), int(elements), op('tQ'))
  parts.push(int(0), tuple(shape), tuple(strides), op('\x89ccollections\nOrderedDict\n)RtR'))
}
