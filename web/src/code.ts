/** The request of the page in other languages: what they send is what the page sends. */
import type { Request } from './wire.js'

export const languages = ['curl', 'TypeScript', 'Python'] as const
export type Language = (typeof languages)[number]

/** Within single quotes of a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

function python(value: unknown, indent = ''): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value !== 'object') return JSON.stringify(value)
  const inner = `${indent}    `
  if (Array.isArray(value)) return `[${value.map((each) => python(each, inner)).join(', ')}]`
  const fields = Object.entries(value).map(
    ([name, each]) => `${inner}${JSON.stringify(name)}: ${python(each, inner)},`,
  )
  return `{\n${fields.join('\n')}\n${indent}}`
}

/** `server`: its address, without a slash at the end. */
export function codeOf(language: Language, request: Request, server: string): string {
  const { model, prompt, template, ...others } = request
  const body = {
    model,
    ...(prompt !== undefined && { prompt }),
    ...(template && { template }),
    ...others,
  }
  switch (language) {
    case 'curl':
      return [
        `curl ${server}/v1/completions \\`,
        "  -H 'content-type: application/json' \\",
        `  -d ${quoted(JSON.stringify(body, null, 2))}`,
      ].join('\n')
    case 'TypeScript':
      return [
        `const reply = await fetch('${server}/v1/completions', {`,
        "  method: 'POST',",
        "  headers: { 'content-type': 'application/json' },",
        `  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll('\n', '\n  ')}),`,
        '})',
        'const { choices, refinement } = await reply.json()',
        'console.log(choices[0].text, refinement.energy)',
      ].join('\n')
    case 'Python':
      return [
        'import json, urllib.request',
        '',
        `body = ${python(body)}`,
        'request = urllib.request.Request(',
        `    "${server}/v1/completions",`,
        '    data=json.dumps(body).encode(),',
        '    headers={"content-type": "application/json"},',
        ')',
        'reply = json.load(urllib.request.urlopen(request))',
        'print(reply["choices"][0]["text"], reply["refinement"]["energy"])',
      ].join('\n')
  }
}
