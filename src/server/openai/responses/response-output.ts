/**
 * The output of a response while it grows, and the events that tell of it: a message, or messages and calls
 * where the model was told of tools. What it is, is a function of the text alone, in whatever pieces that came.
 */
import type { ToolFormat } from '../../../tokenizer/chat-template.js'
import type { Logprob } from '../../schemas/reply-schema.js'
import type { OutputItem, OutputMessage } from '../../schemas/response-schema.js'
import { type ReplyPart, type ToolCall, ToolCallReader } from '../tool-calls.js'

export interface OutputMeta {
  /** Of the first message; ids of other items follow from it. */
  itemId: string
  /** How calls are written in the text, if there may be any. */
  calls?: ToolFormat
}

/** An event that tells of an output, as far as another one is made of it. */
export interface RecalledEvent {
  type: string
  delta?: string
  logprobs?: readonly Logprob[]
  item?: OutputItem
}

interface Message {
  text: string
  logprobs: Logprob[]
}

export class ResponseOutput {
  /** Those that are complete. */
  private readonly items: OutputItem[] = []
  /** What the last message has said, while it goes on. */
  private message: Message | undefined
  private readonly reader: ToolCallReader | undefined
  /** White space before a message: it is part of one if text follows. */
  private blank = ''

  constructor(private readonly meta: OutputMeta) {
    const { calls, itemId } = meta
    this.reader = calls && new ToolCallReader(calls, itemId)
  }

  /** A reply that can be nothing but a message begins with it. */
  begin(): object[] {
    return this.reader ? [] : this.openMessage()
  }

  /** `logprobs`: none where there may be calls. */
  say(text: string, logprobs: readonly Logprob[]): object[] {
    if (!this.reader) return this.write(text, logprobs)
    return this.take(this.reader.read(text))
  }

  /** The events at the end of the text; the last message has this status. */
  end(status: string): object[] {
    const events = this.reader ? this.take(this.reader.end()) : []
    if (this.items.length === 0 && !this.message) events.push(...this.openMessage())
    return [...events, ...this.closeMessage(status)]
  }

  /** Another output has told this, after all that this one has said. */
  recall({ delta = '', item, logprobs = [], type }: RecalledEvent): void {
    if (type === 'response.output_text.delta') this.write(delta, logprobs)
    if (item?.type === 'message' && type === 'response.output_item.added') this.openMessage()
    if (!item || type !== 'response.output_item.done') return
    this.items.push(item)
    this.message = undefined
  }

  /** The items as they are; a message that goes on has this status. */
  present(status: string): OutputItem[] {
    return this.message ? [...this.items, this.messageOf(this.message, status)] : [...this.items]
  }

  private take(parts: readonly ReplyPart[]): object[] {
    return parts.flatMap((part) =>
      typeof part === 'string' ? this.writeBetweenCalls(part) : this.call(part),
    )
  }

  private writeBetweenCalls(text: string): object[] {
    if (this.message) return this.write(text, [])
    this.blank += text
    if (this.blank.trim() === '') return []
    const begun = this.items.length === 0 ? this.blank : this.blank.trimStart()
    this.blank = ''
    return [...this.openMessage(), ...this.write(begun, [])]
  }

  private call({ function: { arguments: given, name }, id: callId }: ToolCall): object[] {
    this.blank = ''
    const events = this.closeMessage('completed')
    const place = { item_id: this.idOf('fc'), output_index: this.items.length }
    const item = {
      type: 'function_call' as const,
      id: place.item_id,
      call_id: callId,
      name,
      arguments: given,
      status: 'completed' as const,
    }
    this.items.push(item)
    const { output_index } = place
    return [
      ...events,
      {
        type: 'response.output_item.added',
        output_index,
        item: { ...item, arguments: '', status: 'in_progress' },
      },
      { type: 'response.function_call_arguments.delta', ...place, delta: given },
      { type: 'response.function_call_arguments.done', ...place, name, arguments: given },
      { type: 'response.output_item.done', output_index, item },
    ]
  }

  private openMessage(): object[] {
    const message = (this.message = { text: '', logprobs: [] })
    const item = { ...this.messageOf(message, 'in_progress'), content: [] }
    return [
      { type: 'response.output_item.added', output_index: this.items.length, item },
      { type: 'response.content_part.added', ...this.place, part: partOf(message) },
    ]
  }

  private write(text: string, logprobs: readonly Logprob[]): object[] {
    if (!this.message || (text === '' && logprobs.length === 0)) return []
    this.message.text += text
    this.message.logprobs.push(...logprobs)
    return [{ type: 'response.output_text.delta', ...this.place, delta: text, logprobs }]
  }

  private closeMessage(status: string): object[] {
    const { message, place } = this
    if (!message) return []
    const item = this.messageOf(message, status)
    this.items.push(item)
    this.message = undefined
    return [
      { type: 'response.output_text.done', ...place, ...message },
      { type: 'response.content_part.done', ...place, part: partOf(message) },
      { type: 'response.output_item.done', output_index: place.output_index, item },
    ]
  }

  private get place() {
    return { item_id: this.idOf('msg'), output_index: this.items.length, content_index: 0 }
  }

  /** Of the item that comes next or goes on. */
  private idOf(prefix: 'fc' | 'msg'): string {
    const number = this.items.length
    const id = this.meta.itemId.replace(/^msg/, prefix)
    return number === 0 ? id : `${id}-${number}`
  }

  private messageOf(message: Message, status: string): OutputMessage {
    const content = [partOf(message)]
    return { type: 'message', id: this.idOf('msg'), status, role: 'assistant', content }
  }
}

const partOf = ({ logprobs, text }: Message): OutputMessage['content'][number] => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs: [...logprobs],
})
