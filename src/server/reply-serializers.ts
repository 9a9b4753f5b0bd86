/**
 * Compiles the schemas of replies, each of them once for the process: a route has the schema of an error for every
 * status that it may answer, and that is the same one in all routes and on all ports. No schema refers to another.
 */
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifySerializerCompiler } from 'fastify/types/schema.js'

const compile = SerializerSelector()()
const known = new WeakMap<object, (data: unknown) => string>()

export const serializerOf: FastifySerializerCompiler<unknown> = ({ schema, ...route }) => {
  const serializer = known.get(schema as object) ?? compile({ httpStatus: '', ...route, schema })
  known.set(schema as object, serializer)
  return serializer
}
