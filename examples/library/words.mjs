// Text, scores and vectors in this process: `node words.mjs`.
import { openModel } from 'basin-ebt'

const model = await openModel('stories')
const { text } = await model.generate({ prompt: 'Once upon a time', maxTokens: 24, seed: 1 })
console.log(`Once upon a time${text}`)

const prompt = 'The little girl was very'
const answers = [' happy.', ' square.']
const scores = await model.score({ prompt, answers })
scores.forEach(({ energyPerToken }, i) =>
  console.log(`${prompt}${answers[i]} ${energyPerToken.toFixed(2)} per token`),
)

const [a, b, c] = await model.embed({ input: ['a cat sat', 'a dog sat', 'it rained all day'] })
const similarity = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0)
console.log(`similar: ${similarity(a, b).toFixed(3)} and ${similarity(a, c).toFixed(3)}`)
await model.close()
