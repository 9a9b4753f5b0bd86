// Basin's API in one's own Fastify server: `node own-server.mjs`, then Ctrl-C.
import Fastify from 'fastify'
import basin from 'basin-ebt/server'

const app = Fastify()
app.get('/', () => 'the models are below /llm')
await app.register(basin, { models: ['stories', 'sudoku6'], prefix: '/llm' })
console.log(`serving ${await app.listen({ port: Number(process.env.PORT ?? 8001) })}/llm/v1`)
process.once('SIGINT', () => app.close())
process.once('SIGTERM', () => app.close())
