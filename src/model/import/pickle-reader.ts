/**
 * Reads pickles without running any code. It knows the opcodes that torch's checkpoints use and the
 * globals of pickle-globals.ts; any other ends it with an error that names it. Work and memory are
 * bounded: there are at most MAX_OPERATIONS opcodes, and each costs no more than the bytes that it
 * consumes and the stack items that it removes.
 */
import { Dict, Inert, StorageRef, Tuple, type Value } from './pickle-values.js'
import { findGlobal, isGlobal } from './pickle-globals.js'
import { quote, refuse } from './refusal.js'

const MAX_OPERATIONS = 500_000
const MAX_TEXT_BYTES = 1024 * 1024
const MAX_LINE_BYTES = 512

/** Names of opcodes that no checkpoint needs, for the error. */
const refused = new Map([
  [0x50, 'PERSID'],
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x92, 'NEWOBJ_EX'],
  [0x96, 'BYTEARRAY8'],
  [0x97, 'NEXT_BUFFER'],
  [0x98, 'READONLY_BUFFER'],
])

/** Reads a pickle of protocol 2 to 5. Throws `invalid_checkpoint`. */
export function readPickle(bytes: Uint8Array, path: string): Value {
  return new Machine(bytes, path).run()
}

class Machine {
  private at = 0
  private readonly view: DataView
  private readonly stack: Value[] = []
  private readonly marks: number[] = []
  private readonly memo = new Map<number, Value>()
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

  constructor(
    private readonly bytes: Uint8Array,
    private readonly path: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  run(): Value {
    for (let count = 0; count < MAX_OPERATIONS; count++) {
      const opcode = this.uint(1)
      if (opcode === STOP) return this.pop()
      const operation = operations.get(opcode)
      if (!operation) this.refuseOpcode(opcode)
      operation(this)
    }
    return this.fail(`has more than ${MAX_OPERATIONS} operations`)
  }

  fail(reason: string): never {
    refuse(this.path, `pickle: ${reason}`)
  }

  private refuseOpcode(opcode: number): never {
    const name = refused.get(opcode)
    this.fail(
      name === undefined
        ? `byte 0x${opcode.toString(16)} at ${this.at - 1} is no opcode of a checkpoint`
        : `opcode ${name} is not allowed`,
    )
  }

  protocol(version: number): void {
    if (version > 5) this.fail(`is of protocol ${version}, beyond 5`)
  }

  push(value: Value): void {
    this.stack.push(value)
  }

  pop(): Value {
    if (this.stack.length <= (this.marks.at(-1) ?? 0)) this.fail('takes from an empty stack')
    return this.stack.pop() as Value
  }

  top(): Value {
    const value = this.pop()
    this.push(value)
    return value
  }

  mark(): void {
    this.marks.push(this.stack.length)
  }

  /** Removes and returns what was pushed since the latest mark, and removes the mark. */
  sinceMark(): Value[] {
    const mark = this.marks.pop() ?? this.fail('has no mark')
    return this.stack.splice(mark)
  }

  taken(count: number): Value[] {
    return Array.from({ length: count }, () => this.pop()).reverse()
  }

  remember(index: number): void {
    this.memo.set(index, this.top())
  }

  memoSize(): number {
    return this.memo.size
  }

  recall(index: number): void {
    const value = this.memo.get(index)
    if (value === undefined) this.fail(`memo ${index} is empty`)
    this.push(value)
  }

  private advance(length: number): number {
    const from = this.at
    if (length > this.bytes.length - from) this.fail('is cut short')
    this.at += length
    return from
  }

  uint(width: 1 | 2 | 4): number {
    const from = this.advance(width)
    if (width === 1) return this.view.getUint8(from)
    return width === 2 ? this.view.getUint16(from, true) : this.view.getUint32(from, true)
  }

  int32(): number {
    return this.view.getInt32(this.advance(4), true)
  }

  float64(): number {
    return this.view.getFloat64(this.advance(8), false)
  }

  length64(): number {
    return Number(this.view.getBigUint64(this.advance(8), true))
  }

  /** An integer in two's complement, little-endian, rounded to a double. */
  long(length: number): number {
    if (length > 255) this.fail('has an integer of more than 255 bytes')
    const from = this.advance(length)
    let value = 0n
    for (let i = length - 1; i >= 0; i--)
      value = (value << 8n) | BigInt(this.bytes[from + i] as number)
    return Number(BigInt.asIntN(8 * length, value))
  }

  text(length: number): string {
    const from = this.checkedText(length)
    try {
      return this.utf8.decode(this.bytes.subarray(from, from + length))
    } catch {
      return this.fail(`text at ${from} is not UTF-8`)
    }
  }

  /** Skips a byte string: no importer uses its content. */
  skipBytes(length: number): Inert {
    this.checkedText(length)
    return new Inert('bytes')
  }

  private checkedText(length: number): number {
    if (length > MAX_TEXT_BYTES) this.fail(`has a text of ${length} bytes`)
    return this.advance(length)
  }

  line(): string {
    const end = this.bytes.subarray(this.at, this.at + MAX_LINE_BYTES).indexOf(0x0a)
    if (end < 0) this.fail(`has a line without an end at ${this.at}`)
    const line = this.text(end)
    this.at++
    return line
  }

  global(module: Value, name: Value): void {
    if (typeof module !== 'string' || typeof name !== 'string')
      this.fail('names a global by what is not a text')
    const found = findGlobal(module, name)
    if (!found) this.fail(`global ${quote(`${module}.${name}`)} is not allowed; nothing was run`)
    this.push(found)
  }

  /** REDUCE and NEWOBJ: replaces an allowed global and its arguments by the data they stand for. */
  make(): void {
    const [callee, args] = this.taken(2) as [Value, Value]
    if (!isGlobal(callee)) this.fail('calls what is not a global')
    if (!(args instanceof Tuple)) this.fail('calls without a tuple of arguments')
    const made = callee.make?.(args.items)
    if (made === undefined) this.fail(`${callee.name} is called with what it does not take`)
    this.push(made)
  }

  /** BUILD: the state becomes the attributes of an object; a plain mapping ignores it. */
  build(): void {
    const state = this.pop()
    const target = this.top()
    if (target instanceof Inert) return
    if (!(target instanceof Dict)) this.fail('sets attributes on what has none')
    if (target.holdsAttributes && state instanceof Dict) target.entries = state.entries
  }

  setItems(flat: Value[]): void {
    const target = this.top()
    if (flat.length % 2 === 1) this.fail('has a key without a value')
    if (target instanceof Inert) return
    if (!(target instanceof Dict)) this.fail('sets an item of what is no dict')
    for (let i = 0; i < flat.length; i += 2)
      target.entries.set(flat[i] as Value, flat[i + 1] as Value)
  }

  append(values: Value[]): void {
    const target = this.top()
    if (target instanceof Inert) return
    if (!Array.isArray(target)) this.fail('appends to what is no list')
    for (const value of values) target.push(value)
  }

  /** torch's persistent ids: ('storage', type, key, device, elements). */
  storage(): void {
    const id = this.pop()
    const [kind, type, key, , elements] = id instanceof Tuple ? id.items : []
    const dtype = isGlobal(type) ? type.storage : undefined
    if (kind !== 'storage' || dtype === undefined) this.fail('has a persistent id of no storage')
    if (typeof key !== 'string' || typeof elements !== 'number')
      this.fail('has a storage without key or size')
    this.push(new StorageRef(key, dtype, elements))
  }
}

const STOP = 0x2e

type Operation = (machine: Machine) => void

const constant =
  (make: () => Value): Operation =>
  (m) => {
    m.push(make())
  }
const tuple =
  (count: number): Operation =>
  (m) => {
    m.push(new Tuple(m.taken(count)))
  }

const structure: [number, Operation][] = [
  [0x80, (m) => m.protocol(m.uint(1))], // PROTO
  [0x95, (m) => void m.length64()], // FRAME
  [0x28, (m) => m.mark()], // MARK
  [0x30, (m) => void m.pop()], // POP
  [0x31, (m) => void m.sinceMark()], // POP_MARK
  [0x32, (m) => m.push(m.top())], // DUP
  [0x71, (m) => m.remember(m.uint(1))], // BINPUT
  [0x72, (m) => m.remember(m.uint(4))], // LONG_BINPUT
  [0x94, (m) => m.remember(m.memoSize())], // MEMOIZE
  [0x68, (m) => m.recall(m.uint(1))], // BINGET
  [0x6a, (m) => m.recall(m.uint(4))], // LONG_BINGET
]

const scalars: [number, Operation][] = [
  [0x4e, constant(() => null)], // NONE
  [0x88, constant(() => true)], // NEWTRUE
  [0x89, constant(() => false)], // NEWFALSE
  [0x4a, (m) => m.push(m.int32())], // BININT
  [0x4b, (m) => m.push(m.uint(1))], // BININT1
  [0x4d, (m) => m.push(m.uint(2))], // BININT2
  [0x8a, (m) => m.push(m.long(m.uint(1)))], // LONG1
  [0x8b, (m) => m.push(m.long(m.uint(4)))], // LONG4
  [0x47, (m) => m.push(m.float64())], // BINFLOAT
  [0x58, (m) => m.push(m.text(m.uint(4)))], // BINUNICODE
  [0x8c, (m) => m.push(m.text(m.uint(1)))], // SHORT_BINUNICODE
  [0x8d, (m) => m.push(m.text(m.length64()))], // BINUNICODE8
  [0x43, (m) => m.push(m.skipBytes(m.uint(1)))], // SHORT_BINBYTES
  [0x42, (m) => m.push(m.skipBytes(m.uint(4)))], // BINBYTES
  [0x8e, (m) => m.push(m.skipBytes(m.length64()))], // BINBYTES8
]

const collections: [number, Operation][] = [
  [0x7d, constant(() => new Dict())], // EMPTY_DICT
  [0x5d, constant(() => [])], // EMPTY_LIST
  [0x29, constant(() => new Tuple([]))], // EMPTY_TUPLE
  [0x8f, constant(() => new Inert('set'))], // EMPTY_SET
  [0x74, (m) => m.push(new Tuple(m.sinceMark()))], // TUPLE
  [0x85, tuple(1)], // TUPLE1
  [0x86, tuple(2)], // TUPLE2
  [0x87, tuple(3)], // TUPLE3
  [0x6c, (m) => m.push(m.sinceMark())], // LIST
  [0x61, (m) => m.append([m.pop()])], // APPEND
  [0x65, (m) => m.append(m.sinceMark())], // APPENDS
  [0x90, (m) => m.append(m.sinceMark())], // ADDITEMS
  [0x73, (m) => m.setItems(m.taken(2))], // SETITEM
  [0x75, (m) => m.setItems(m.sinceMark())], // SETITEMS
]

const objects: [number, Operation][] = [
  [0x63, (m) => m.global(m.line(), m.line())], // GLOBAL
  [0x93, (m) => m.global(...(m.taken(2) as [Value, Value]))], // STACK_GLOBAL
  [0x52, (m) => m.make()], // REDUCE
  [0x81, (m) => m.make()], // NEWOBJ
  [0x62, (m) => m.build()], // BUILD
  [0x51, (m) => m.storage()], // BINPERSID
]

const operations: ReadonlyMap<number, Operation> = new Map([
  ...structure,
  ...scalars,
  ...collections,
  ...objects,
])
