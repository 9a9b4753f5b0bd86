/** The OpenAPI document: what it declares, what it offers to send, and the types that are made from it. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addKey } from '../../src/server/api-keys.js'
import { Server, shipped, shippedModels } from '../support/process.js'

interface Operation {
  operationId?: string
  tags?: string[]
  summary?: string
  security?: object[]
  requestBody?: {
    content: { 'application/json': { examples?: Record<string, { value: object }> } }
  }
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  tags: { name: string }[]
  security?: object[]
  components: { securitySchemes?: Record<string, { type: string }> }
}

/** What someone might write with the types: it must compile, and the line after each comment must not. */
const usage = `
import type { operations, paths } from './basin.js'

type Body = operations['createCompletion']['requestBody']['content']['application/json']
type Reply = operations['createCompletion']['responses'][200]['content']['application/json']
type Chat = paths['/v1/chat/completions']['post']['requestBody']['content']['application/json']
type Answer = paths['/v1/responses']['post']['requestBody']['content']['application/json']

export const body: Body = { model: 'stories', prompt: 'Once', refinement: { max_steps: 4 } }
export const chat: Chat = { messages: [{ role: 'user', content: 'Hi' }], temperature: null }
export const textOf = (reply: Reply): string => reply.choices.map(({ text }) => text).join('')
export const stepsOf = ({ refinement }: Reply): number => refinement.steps
const held = {
  guided_json: { type: 'integer' }, guided_regex: 'a+', guided_choice: ['a'], guided_grammar: 'root ::= "a"',
  structured_outputs: { json_object: true, regex: 'a', choice: ['a'], grammar: 'root ::= "a"', json: {} },
  min_p: 0.1, repetition_penalty: 1.1,
}
const schema = { name: 'number', schema: { type: 'integer' } }
const response_format = { type: 'json_schema' as const, json_schema: schema }
export const heldBody: Body = { ...held, prompt: 'Once', response_format }
export const heldChat: Chat = { ...held, messages: [{ role: 'user', content: 'Hi' }], response_format }
export const heldAnswer: Answer = { ...held, input: 'Once', text: { format: { type: 'json_schema', ...schema } } }
// @ts-expect-error: a choice is a list
export const wrongChoice: Answer = { structured_outputs: { choice: 'a' } }
// @ts-expect-error: a number is no temperature where it is a text
export const wrong: Body = { temperature: 'high' }
// @ts-expect-error: there is no such role
export const unknown: Chat = { messages: [{ role: 'king', content: 'Hi' }] }
`

describe.skipIf(!shipped)('the OpenAPI document', () => {
  let server: Server
  let document: Document
  let key: string

  beforeAll(async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'basin-openapi-')), 'keys.json')
    key = addKey(file, 'alice')
    server = await Server.start(shippedModels, '--keys', file)
    document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document
  })
  afterAll(() => server.stop())

  const operations = (): [string, Operation][] =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]): [string, Operation] => [
        `${method} ${path}`,
        operation,
      ]),
    )

  it('names every operation once, and sorts them by tags that it describes', () => {
    const ids = operations().map(([name, { operationId }]) => operationId ?? name)
    expect(ids.filter((id) => !/^[a-zA-Z]+$/.test(id))).toEqual([])
    expect(new Set(ids).size).toBe(ids.length)
    const described = new Set(document.tags.map(({ name }) => name))
    const tags = operations().flatMap(([name, each]) => each.tags ?? [`none: ${name}`])
    expect(tags.filter((tag) => !described.has(tag))).toEqual([])
    expect(operations().filter(([, { summary }]) => !summary)).toEqual([])
  })

  it('says how keys are brought, and which routes need none', () => {
    expect(document.security).toEqual([{ bearer: [] }, { apiKey: [] }])
    expect(Object.keys(document.components.securitySchemes ?? {})).toEqual(['bearer', 'apiKey'])
    const open = operations().filter(([, { security }]) => security?.length === 0)
    expect(open.map(([name]) => name)).toEqual(['get /health', 'get /ready'])
  })

  it('offers requests that are answered, for each kind of model', async () => {
    const offered = operations().flatMap(([name, { requestBody }]) =>
      Object.entries(requestBody?.content['application/json'].examples ?? {}).map(
        ([kind, { value }]) => ({ path: name.replace('post ', ''), kind, value }),
      ),
    )
    expect(new Set(offered.map(({ kind }) => kind))).toEqual(
      new Set(['text', 'sentences', 'sudoku', 'sum']),
    )
    expect(offered.length).toBeGreaterThanOrEqual(9 * 4)
    for (const { kind, path, value } of offered) {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${key}` }
      const body = JSON.stringify(value)
      const reply = await fetch(server.url + path, { method: 'POST', headers, body })
      expect(
        `${path} ${kind}: ${reply.status} ${reply.status === 200 ? '' : await reply.text()}`,
      ).toBe(`${path} ${kind}: 200 `)
    }
  })

  it('has types made of it by openapi-typescript that compile', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'basin-types-'))
    const types = astToString(await openapiTS(document as unknown as OpenAPI3))
    writeFileSync(join(folder, 'basin.ts'), types)
    const file = join(folder, 'usage.ts')
    writeFileSync(file, usage)
    const program = ts.createProgram([file], {
      strict: true,
      noEmit: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: [],
    })
    const found = ts.getPreEmitDiagnostics(program)
    expect(
      found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
    ).toEqual([])
  })
})
