import { kernelSets } from '../../src/energy/native/options.js'
import { engineContract } from '../energy/contract.js'
import { openNative } from './support.js'

for (const kernels of kernelSets)
  engineContract(`native, kernels ${kernels}`, (checkpoint) =>
    Promise.resolve(openNative(checkpoint, { kernels })),
  )
