/**
 * From the terms of a request, in texts and positions, to functions of tokens (src/refine/terms/). What a
 * request can get wrong about them is found here, before it costs anything.
 */
import { BasinError } from '../../../errors.js'
import { compare } from '../../../refine/terms/compare.js'
import { contains } from '../../../refine/terms/contains.js'
import { count } from '../../../refine/terms/count.js'
import type { ModelConfig } from '../../../model/config.js'
import { distinct } from '../../../refine/terms/distinct.js'
import { modelTerm } from '../../../refine/terms/model-energy.js'
import { similar } from '../../../refine/terms/similar.js'
import { sum, type Numbers } from '../../../refine/terms/sum.js'
import type { WeightedTerm } from '../../../refine/terms/term.js'
import { token } from '../../../refine/terms/token.js'
import type { Tokenizer } from '../../../tokenizer/tokenizer.js'
import type { TermRequest } from '../../protocol.js'
import { parseTemplate } from './prepare.js'
import type { TermContext, TermModel } from '../terms/term-model.js'

/** Whoever names no tolerance for a representation is content with a cosine of 0.8. */
const SIMILAR_TOLERANCE = 0.2

/** A term that is known once the engine has given the vectors of some tokens. */
export interface VectorTerm {
  /** Its place among the terms. */
  readonly index: number
  readonly tokens: readonly number[]
}

/** A term that is the energy of another model. */
export interface PreparedModelTerm {
  /** Its place among the terms. */
  readonly index: number
  readonly model: TermModel
  readonly context: TermContext
  /** K of both models. */
  readonly block: number
  /** What is given in the other model, by position of the completion; absent: what is given in this one. */
  readonly template: readonly number[] | undefined
}

export interface PreparedTerms {
  readonly weighted: WeightedTerm[]
  readonly models: readonly PreparedModelTerm[]
  /** What `resolve` is still to be called for. */
  readonly unresolved: VectorTerm[]
}

/** The vectors of a term's tokens, [D] each: their mean is what an answer is to be near. */
export function resolve(
  { unresolved, weighted }: PreparedTerms,
  wanted: VectorTerm,
  vectors: readonly Float32Array[],
): void {
  const [first] = vectors
  const mean = Float64Array.from(first ?? [], (_, d) =>
    vectors.reduce((total, vector) => total + (vector[d] as number) / vectors.length, 0),
  )
  const before = weighted[wanted.index]
  if (before) weighted[wanted.index] = { ...before, term: similar(mean) }
  unresolved.splice(unresolved.indexOf(wanted), 1)
}

const invalid = (param: string, reason: string) =>
  new BasinError('invalid_request', { param, reason })

/** Whole numbers that tokens stand for, as `sum` and `compare` take them. */
function numbersOf(tokenizer: Tokenizer): Numbers {
  return Array.from({ length: tokenizer.vocabSize }, (_, id) => {
    const text = tokenizer.tokenText(id).trim()
    return /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined
  })
}

function oneToken(text: string, param: string, tokenizer: Tokenizer): number {
  const [id, ...more] = tokenizer.encode(text, { param })
  if (id !== undefined && more.length === 0) return id
  throw invalid(param, `${JSON.stringify(text)} must be one token, and is ${more.length + 1}`)
}

/** The ways in which a text may be spelled inside another: at its beginning, and after a space. */
function runsOf(text: string, param: string, tokenizer: Tokenizer): number[][] {
  const plain = tokenizer.encode(text, { param })
  if (plain.length === 0) throw invalid(param, 'it must have at least one token')
  if (tokenizer.special.size >= tokenizer.vocabSize || !canEncode(` ${text}`, tokenizer))
    return [plain]
  const spaced = tokenizer.encode(` ${text}`, { param })
  return spaced.join() === plain.join() ? [plain] : [plain, spaced]
}

/** Alphabets of characters need not have a space. */
function canEncode(text: string, tokenizer: Tokenizer): boolean {
  try {
    tokenizer.encode(text)
    return true
  } catch (error) {
    if (error instanceof BasinError && error.code === 'invalid_request') return false
    throw error
  }
}

/** Of the request whose terms these are, and of the model that answers it. */
export interface TermSetting {
  readonly model: ModelConfig
  readonly tokenizer: Tokenizer
  /** Of the request. */
  readonly prompt: string | readonly number[]
  /** The most positions of the completion. */
  readonly positions: number
  /** The other models that have been loaded, by their directories; absent where there can be none. */
  readonly others?: { find: (directory: string) => TermModel | undefined } | undefined
}

/** Throws what is wrong, by field. */
export function prepareTerms(asked: readonly TermRequest[], setting: TermSetting): PreparedTerms {
  const { positions, tokenizer } = setting
  const unresolved: VectorTerm[] = []
  const models: PreparedModelTerm[] = []
  let numbers: Numbers | undefined
  const weighted = asked.map((request, index): WeightedTerm => {
    const param = (field: string) => `energy_terms[${index}].${field}`
    const check = (field: string, position: number): number => {
      if (position < positions) return position
      const bound = `a position of the completion, from 0 to ${positions - 1}`
      throw new BasinError('out_of_range', { param: param(field), bound, value: position })
    }
    const { required = false, tolerance, weight } = request
    const shared = { weight, required, ...(tolerance !== undefined && { tolerance }) }
    switch (request.type) {
      case 'distinct': {
        for (const group of request.positions)
          for (const position of group) check('positions', position)
        return { ...shared, term: distinct(request.positions) }
      }
      case 'sum': {
        for (const position of request.positions) check('positions', position)
        numbers ??= numbersOf(tokenizer)
        return { ...shared, term: sum(request.positions, request.equals, numbers) }
      }
      case 'compare': {
        check('less', request.less)
        check('than', request.than)
        numbers ??= numbersOf(tokenizer)
        return { ...shared, term: compare(request.less, request.than, numbers) }
      }
      case 'token': {
        const ids = request.tokens.map((text) => oneToken(text, param('tokens'), tokenizer))
        const position = check('position', request.position)
        return { ...shared, term: token(position, [...new Set(ids)], request.not ?? false) }
      }
      case 'contains': {
        const { text } = request
        const says = (tokens: readonly number[]) => tokenizer.decode(tokens).includes(text)
        return { ...shared, term: contains(runsOf(text, param('text'), tokenizer), says) }
      }
      case 'count': {
        const id = oneToken(request.token, param('token'), tokenizer)
        return { ...shared, term: count(id, request.equals) }
      }
      case 'similar': {
        const tokens = tokenizer.encode(request.text, { param: param('text') })
        if (tokens.length === 0) throw invalid(param('text'), 'it must have at least one token')
        unresolved.push({ index, tokens })
        const bounded = { ...shared, tolerance: tolerance ?? SIMILAR_TOLERANCE }
        return { ...bounded, term: similar(new Float64Array(0)) }
      }
      case 'model': {
        if (required && tolerance === undefined)
          throw invalid(param('tolerance'), 'is needed where the energy of a model is required')
        models.push(modelTermOf(request, index, setting, param))
        return { ...shared, term: modelTerm }
      }
    }
  })
  return { weighted, models, unresolved }
}

/** As many missing tokens as an error names. */
const NAMED_TOKENS = 5

/** Throws `not_supported` where the energy of that model cannot be a term of this one's answers. */
function modelTermOf(
  request: Extract<TermRequest, { type: 'model' }>,
  index: number,
  { model: own, others, positions, prompt, tokenizer }: TermSetting,
  param: (field: string) => string,
): PreparedModelTerm {
  const refuse = (reason: string) =>
    new BasinError('not_supported', { param: param('model'), reason })
  const model = others?.find(request.directory ?? '')
  if (!model) throw refuse('the engine that answers opens no other models')
  const { engine, tokenizer: theirs } = model.opened
  const { answer, context_length: room, name } = engine.model
  const { block } = own.answer
  if (answer.block !== block)
    throw refuse(`answers of ${name} have ${answer.block} positions, those of ${own.name} ${block}`)
  const { missing } = model.map
  if (missing.length > 0) {
    const named = missing
      .slice(0, NAMED_TOKENS)
      .map((id) => JSON.stringify(tokenizer.tokenText(id)))
    throw refuse(
      `${name} has no token for ${missing.length} of the tokens of ${own.name}, such as ${named.join(', ')}`,
    )
  }
  const text =
    request.prompt ?? (typeof prompt === 'string' ? prompt : tokenizer.decode([...prompt]))
  const context = { prompt: theirs.encode(text, { param: param('prompt') }) }
  const start = theirs.bos === undefined ? 0 : 1
  if (start + context.prompt.length === 0)
    throw invalid(param('prompt'), `must not be empty for ${name}`)
  const answers = Math.ceil(positions / block) * block
  if (start + context.prompt.length + answers > room)
    throw new BasinError('context_length_exceeded', {
      param: param('prompt'),
      model: name,
      limit: room,
      prompt: start + context.prompt.length,
      answer: answers,
    })
  const template =
    request.template === undefined
      ? undefined
      : parseTemplate(request.template, engine.model, theirs, param('template'))
  if (template && template.length !== positions) {
    const reason = `it must have the ${positions} positions of the completion, and has ${template.length}`
    throw new BasinError('template_mismatch', { param: param('template'), reason })
  }
  return { index, model, context, block, template }
}
