/**
 * What the message costs that a peer of a WebSocket has begun and not ended. Reads the heads of frames
 * (RFC 6455, section 5.2) and skips what they carry: the protocol itself is the library's.
 */

/** A piece or a frame that is kept costs more than its bytes, and may be a single byte. */
const PIECE_BYTES = 256
/** Of a head: two bytes, a length of eight, a mask of four. */
const LONGEST_HEAD = 14
const FINAL = 0x80
const OPCODE = 0x0f
/** The first opcode of control frames, which stand between the frames of a message and are no part of it. */
const FIRST_CONTROL = 0x8
const MASKED = 0x80
const LENGTH = 0x7f

export class FrameMeter {
  /** Bytes that the unfinished message holds in memory, at most; 0 between messages. */
  unfinishedBytes = 0
  private readonly head = Buffer.alloc(LONGEST_HEAD)
  /** Bytes of the present head that have come. */
  private headBytes = 0
  /** Bytes of the present frame that are still to come after its head. */
  private left = 0
  /** A message has begun and not ended. */
  private within = false
  /** Whole frames of the unfinished message that are not counted yet. */
  private frames = 0

  /** The next bytes of the connection. */
  take(piece: Buffer): void {
    let began = 0
    for (let at = 0; at < piece.length;) {
      if (this.left > 0) {
        const skipped = Math.min(this.left, piece.length - at)
        this.left -= skipped
        at += skipped
      } else {
        this.head.writeUInt8(piece.readUInt8(at++), this.headBytes++)
        if (this.headBytes < this.headLength) continue
        this.left = this.length
      }
      if (this.left === 0 && this.endFrame()) began = at
    }
    if (!this.within && this.headBytes === 0) {
      this.unfinishedBytes = 0
      return
    }
    const before = began > 0 ? 0 : this.unfinishedBytes
    this.unfinishedBytes = before + piece.length - began + (1 + this.frames) * PIECE_BYTES
    this.frames = 0
  }

  /** How long the present head is, as far as its beginning says. */
  private get headLength(): number {
    if (this.headBytes < 2) return 2
    const second = this.head.readUInt8(1)
    const length = second & LENGTH
    return 2 + (length === 127 ? 8 : length === 126 ? 2 : 0) + (second & MASKED ? 4 : 0)
  }

  /** Bytes that follow the present head, which is whole. */
  private get length(): number {
    const length = this.head.readUInt8(1) & LENGTH
    if (length === 127) return this.head.readUInt32BE(2) * 2 ** 32 + this.head.readUInt32BE(6)
    return length === 126 ? this.head.readUInt16BE(2) : length
  }

  /** True where its frame was the last one of a message. */
  private endFrame(): boolean {
    const first = this.head.readUInt8(0)
    this.headBytes = 0
    if ((first & OPCODE) >= FIRST_CONTROL) return false
    this.within = (first & FINAL) === 0
    this.frames = this.within ? this.frames + 1 : 0
    return !this.within
  }
}
