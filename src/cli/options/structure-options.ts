/** Flags that hold the text of an answer to a structure. */
import { readFileSync } from 'node:fs'
import { InvalidArgumentError, type Command } from 'commander'

export interface StructureFlags {
  json?: true
  /** The text of a JSON schema. */
  jsonSchema?: string
  regex?: string
  choice?: string[]
  /** Rules in the notation of GBNF. */
  grammar?: string
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new InvalidArgumentError(`It cannot be read: ${(cause as Error).message}.`)
  }
}

const appendChoice = (text: string, before?: string[]): string[] => [...(before ?? []), text]

export const addStructureOptions = (command: Command): Command =>
  command
    .option('--json', 'the text is a JSON object')
    .option('--json-schema <file>', 'the text is JSON that matches the schema in this file', textOf)
    .option('--regex <expression>', 'the expression matches the whole text')
    .option('--choice <text>', 'the text is one of these (repeat the flag for each)', appendChoice)
    .option('--grammar <file>', 'the text follows the rules in this file, in GBNF', textOf)

/** The field of a request; without any of the flags none. */
export function structureFields({ choice, grammar, json, jsonSchema, regex }: StructureFlags) {
  const structure = {
    ...(json && { json_object: true }),
    ...(jsonSchema !== undefined && { json: jsonSchema }),
    ...(regex !== undefined && { regex }),
    ...(choice && { choice }),
    ...(grammar !== undefined && { grammar }),
  }
  return Object.keys(structure).length > 0 ? { structured_outputs: structure } : {}
}
