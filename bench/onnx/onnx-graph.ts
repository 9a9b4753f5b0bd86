/**
 * Writes graphs in the ONNX format, as far as `step-graph.ts` needs it. A file is a protocol buffer, ModelProto of
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; the field numbers below are those of that file.
 */

/** A message in pieces, so that weights are copied once, into the file. */
interface Message {
  pieces: Uint8Array[]
  bytes: number
}

const messageOf = (...parts: (Uint8Array | Message)[]): Message => ({
  pieces: parts.flatMap((part) => (part instanceof Uint8Array ? [part] : part.pieces)),
  bytes: parts.reduce((sum, part) => sum + ('bytes' in part ? part.bytes : part.length), 0),
})

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, BigInt(value))
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 128)
  bytes.push(Number(left))
  return Uint8Array.from(bytes)
}

const keyOf = (field: number, wire: number): Uint8Array => varint(field * 8 + wire)
const int = (field: number, value: number): Message => messageOf(keyOf(field, 0), varint(value))
const nested = (field: number, inner: Message): Message =>
  messageOf(keyOf(field, 2), varint(inner.bytes), inner)
const raw = (field: number, bytes: Uint8Array): Message => nested(field, messageOf(bytes))
const text = (field: number, value: string): Message => raw(field, Buffer.from(value))
const float = (field: number, value: number): Message =>
  messageOf(keyOf(field, 5), new Uint8Array(Float32Array.of(value).buffer))

const FLOAT = 1
const INT64 = 7
const IR_VERSION = 8
const OPSET = 17
const contrib = 'com.microsoft'

/** Of a node: whole numbers are integers, `{ float }` is a float, lists are integers. */
export type Attribute = number | { float: number } | readonly number[]

function attribute(name: string, value: Attribute): Message {
  const [FLOAT_TYPE, INT_TYPE, INTS_TYPE] = [1, 2, 7]
  if (typeof value === 'number') return messageOf(text(1, name), int(3, value), int(20, INT_TYPE))
  if ('float' in value) return messageOf(text(1, name), float(2, value.float), int(20, FLOAT_TYPE))
  return messageOf(text(1, name), ...value.map((n) => int(8, n)), int(20, INTS_TYPE))
}

/** The name of an input, a constant or a result of a node. */
export type Value = string

/** A dimension: a number, or the name of one that is known when the graph runs. */
export type Dimension = number | string

function valueInfo(name: string, dims: readonly Dimension[]): Message {
  const shape = dims.map((dim) => nested(1, typeof dim === 'number' ? int(1, dim) : text(2, dim)))
  const tensor = messageOf(int(1, FLOAT), nested(2, messageOf(...shape)))
  return messageOf(text(1, name), nested(2, messageOf(nested(1, tensor))))
}

export class OnnxGraph {
  private readonly nodes: Message[] = []
  private readonly initializers: Message[] = []
  private readonly inputs: Message[] = []
  private readonly outputs: Message[] = []
  private readonly integers = new Map<string, Value>()
  private count = 0

  input(name: string, dims: readonly Dimension[]): Value {
    this.inputs.push(nested(11, valueInfo(name, dims)))
    return name
  }

  output(name: string, value: Value, dims: readonly Dimension[]): void {
    this.nodes.push(this.nodeOf('Identity', [value], [name], {}))
    this.outputs.push(nested(12, valueInfo(name, dims)))
  }

  constant(data: Float32Array, dims: readonly number[]): Value {
    return this.initializer(
      FLOAT,
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      dims,
    )
  }

  scalar(value: number): Value {
    return this.constant(Float32Array.of(value), [])
  }

  /** A list of integers, such as a shape or axes. */
  list(...values: number[]): Value {
    const key = values.join()
    const known = this.integers.get(key)
    if (known !== undefined) return known
    const data = BigInt64Array.from(values, BigInt)
    const value = this.initializer(INT64, new Uint8Array(data.buffer), [values.length])
    this.integers.set(key, value)
    return value
  }

  op(
    type: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value {
    return this.ops(type, inputs, attributes, 1)[0] as Value
  }

  /** A node of several results. */
  ops(
    type: string,
    inputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>>,
    results: number,
  ): Value[] {
    const names = Array.from({ length: results }, () => this.name())
    this.nodes.push(this.nodeOf(type, inputs, names, attributes))
    return names
  }

  bytes(): Uint8Array {
    const graph = messageOf(
      ...this.nodes,
      text(2, 'step'),
      ...this.initializers,
      ...this.inputs,
      ...this.outputs,
    )
    const opset = (domain: string, version: number) =>
      nested(8, messageOf(text(1, domain), int(2, version)))
    const model = messageOf(
      int(1, IR_VERSION),
      opset('', OPSET),
      opset(contrib, 1),
      nested(7, graph),
    )
    return Buffer.concat(model.pieces, model.bytes)
  }

  private name(): Value {
    this.count += 1
    return `v${this.count}`
  }

  private initializer(type: number, bytes: Uint8Array, dims: readonly number[]): Value {
    const name = this.name()
    const tensor = messageOf(
      ...dims.map((n) => int(1, n)),
      int(2, type),
      text(8, name),
      raw(9, bytes),
    )
    this.initializers.push(nested(5, tensor))
    return name
  }

  private nodeOf(
    type: string,
    inputs: readonly Value[],
    results: readonly Value[],
    attributes: Readonly<Record<string, Attribute>>,
  ): Message {
    const parts = [
      ...inputs.map((value) => text(1, value)),
      ...results.map((value) => text(2, value)),
      text(4, type),
      ...Object.entries(attributes).map(([key, value]) => nested(5, attribute(key, value))),
    ]
    if (contribOps.has(type)) parts.push(text(7, contrib))
    return nested(1, messageOf(...parts))
  }
}

/** Ops of ONNX Runtime's own. */
const contribOps = new Set(['FusedMatMul', 'MultiHeadAttention', 'RotaryEmbedding'])
