import { engineDefinition } from '../energy/definition.js'
import { openNative } from './support.js'

engineDefinition('native', (checkpoint) => Promise.resolve(openNative(checkpoint)))
