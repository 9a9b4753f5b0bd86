/**
 * The gradients of the kernels that have names of Basin's (fused.ts). TensorFlow.js has one gradient for each kernel
 * on all backends, so a gradient here runs kernels that every backend with the first kernel has too.
 */
import type * as TfCore from '@tensorflow/tfjs-core'
import type { KernelConfig, Tensor, TensorInfo } from '@tensorflow/tfjs-core'

type Tf = typeof TfCore

/** Runs a kernel as TensorFlow.js does, on the tape where there is one. */
const runKernel = (
  tf: Tf,
  name: string,
  inputs: Record<string, TensorInfo>,
  attributes: Record<string, boolean> = {},
): Tensor | Tensor[] => tf.engine().runKernel(name, inputs as never, attributes)

const registered = new WeakSet<Tf>()

/** Once for each TensorFlow.js; its registry warns of a gradient that is registered again. */
export function registerFusedGradients(tf: Tf): void {
  if (registered.has(tf)) return
  registered.add(tf)
  registerOfValues(tf)
  registerOfTangents(tf)
  registerOfSoftmax(tf)
}

function registerOfValues(tf: Tf): void {
  tf.registerGradient({
    kernelName: 'BasinGate',
    inputsToSave: ['a', 'b'],
    gradFunc: (dy, saved) => {
      const [a, b] = saved as [Tensor, Tensor]
      const [da, db] = runKernel(tf, 'BasinGateGradient', { a, b, dy: dy as Tensor }) as [
        Tensor,
        Tensor,
      ]
      return { a: () => da, b: () => db }
    },
  })
  tf.registerGradient({
    kernelName: 'BasinNorm',
    inputsToSave: ['x', 'w'],
    outputsToSave: [false, true],
    gradFunc: (dys, saved) => {
      const [x, w, r] = saved as [Tensor, Tensor, Tensor]
      const [dy] = dys as [Tensor]
      const [dx, dw] = runKernel(tf, 'BasinNormGradient', { dy, x, w, r }) as [Tensor, Tensor]
      return { x: () => dx, w: () => dw }
    },
  })
  for (const kernelName of ['BasinRotate', 'BasinRotateHeads'])
    tf.registerGradient({
      kernelName,
      inputsToSave: ['cos', 'sin'],
      gradFunc: (dy, saved, attributes) => {
        const [cos, sin] = saved as [Tensor, Tensor]
        const back = !attributes['back']
        return {
          x: () => runKernel(tf, kernelName, { x: dy as Tensor, cos, sin }, { back }) as Tensor,
        }
      },
    })
  tf.registerGradient({
    kernelName: 'BasinCrossEntropy',
    inputsToSave: ['logits', 'targets'],
    outputsToSave: [false, true],
    gradFunc: (dys, saved) => {
      const [logits, targets, logSum] = saved as [Tensor, Tensor, Tensor]
      const scale = () => tf.neg((dys as Tensor[])[0] as Tensor)
      return {
        logits: () =>
          runKernel(tf, 'BasinCrossEntropyGradient', {
            logits,
            targets,
            logSum,
            scale: scale(),
          }) as Tensor,
      }
    },
  })
}

/** Of values together with a directional derivative (numbers.ts), and of the softmax that also has such a kernel. */
function registerOfTangents(tf: Tf): void {
  tf.registerGradient({
    kernelName: 'BasinGateDual',
    inputsToSave: ['a', 'b', 'ta', 'tb'],
    gradFunc: (dys, saved) => {
      const [a, b, ta, tb] = saved as [Tensor, Tensor, Tensor, Tensor]
      const [g, h] = dys as [Tensor, Tensor]
      const inputs = { a, b, ta, tb, g, h }
      const [da, db, dta, dtb] = runKernel(tf, 'BasinGateDualGradient', inputs) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ]
      return { a: () => da, b: () => db, ta: () => dta, tb: () => dtb }
    },
  })
  tf.registerGradient({
    kernelName: 'BasinNormDual',
    inputsToSave: ['x', 't', 'w'],
    outputsToSave: [false, false, true],
    gradFunc: (dys, saved) => {
      const [x, t, w, r] = saved as [Tensor, Tensor, Tensor, Tensor]
      const [g, h] = dys as [Tensor, Tensor]
      const inputs = { x, t, w, r, g, h }
      const [dx, dt, dw] = runKernel(tf, 'BasinNormDualGradient', inputs) as [
        Tensor,
        Tensor,
        Tensor,
      ]
      return { x: () => dx, t: () => dt, w: () => dw }
    },
  })
  tf.registerGradient({
    kernelName: 'BasinJointSoftmax',
    outputsToSave: [true, true],
    gradFunc: (dys, saved) => {
      const [context, own] = saved as [Tensor, Tensor]
      const [contextG, ownG] = dys as [Tensor, Tensor]
      const name = 'BasinJointSoftmaxGradient'
      const [df, dO] = runKernel(tf, name, { context, own, contextG, ownG }) as [Tensor, Tensor]
      return { context: () => df, own: () => dO }
    },
  })
  tf.registerGradient({
    kernelName: 'BasinJointSoftmaxDual',
    inputsToSave: ['contextTangent', 'ownTangent'],
    outputsToSave: [true, true, false, false],
    gradFunc: (dys, saved) => {
      const [contextTangent, ownTangent, context, own] = saved as [Tensor, Tensor, Tensor, Tensor]
      const [contextG, ownG, contextH, ownH] = dys as [Tensor, Tensor, Tensor, Tensor]
      const inputs = { context, own, contextTangent, ownTangent, contextG, ownG, contextH, ownH }
      const outs = runKernel(tf, 'BasinJointSoftmaxGradient', inputs)
      const [df, dO, dft, dot] = outs as [Tensor, Tensor, Tensor, Tensor]
      return { context: () => df, own: () => dO, contextTangent: () => dft, ownTangent: () => dot }
    },
  })
}

/** On backends that have no kernel for it, the gradient of softmax stays the usual one. */
function registerOfSoftmax(tf: Tf): void {
  for (const [kernelName, gradient] of [
    ['Softmax', 'BasinSoftmaxGradient'],
    ['LogSoftmax', 'BasinLogSoftmaxGradient'],
  ] as const) {
    const usual = tf.getGradient(kernelName)
    tf.registerGradient({
      ...usual,
      gradFunc: (dy, saved, attributes) =>
        (tf.getKernel(gradient, tf.getBackend()) as KernelConfig | undefined)
          ? {
              logits: () =>
                runKernel(tf, gradient, {
                  dy: dy as Tensor,
                  y: saved[0] as Tensor,
                }) as Tensor,
            }
          : usual.gradFunc(dy, saved, attributes),
    })
  }
}
