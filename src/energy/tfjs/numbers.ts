/**
 * Numbers with an optional tangent (dual numbers). The network is written once on top of these ops, and
 * so gives values, or values together with a directional derivative.
 *
 * Why: TensorFlow.js 4.22 silently drops paths in a gradient of a gradient (at every op that saves
 * its output: softmax, sigmoid, exp, sqrt, tanh). Training through a descent step needs
 * d/dtheta of the directional derivative of E, so the inner derivative is taken forward, here, and
 * one ordinary reverse pass goes through it (docs/mathematics.md).
 */
import type { Tensor, Tf } from './backend.js'
import { fused, fusedAll } from './fused.js'

export interface Num {
  value: Tensor
  /** Directional derivative of `value`; null where it is identically zero. */
  tangent: Tensor | null
}

export const constant = (value: Tensor): Num => ({ value, tangent: null })

export type Numbers = ReturnType<typeof numbers>

export function numbers(tf: Tf) {
  const plus = (a: Tensor | null, b: Tensor | null): Tensor | null =>
    a && b ? tf.add(a, b) : (a ?? b)

  /** Applies a linear map to value and tangent alike. */
  const each = (x: Num, map: (t: Tensor) => Tensor): Num => ({
    value: map(x.value),
    tangent: x.tangent && map(x.tangent),
  })

  const add = (a: Num, b: Num): Num => ({
    value: tf.add(a.value, b.value),
    tangent: plus(a.tangent, b.tangent),
  })

  const mul = (a: Num, b: Num): Num => ({
    value: tf.mul(a.value, b.value),
    tangent: plus(a.tangent && tf.mul(a.tangent, b.value), b.tangent && tf.mul(a.value, b.tangent)),
  })

  const matMul = (a: Num, b: Num, transposeB = false): Num => ({
    value: tf.matMul(a.value, b.value, false, transposeB),
    tangent: plus(
      a.tangent && tf.matMul(a.tangent, b.value, false, transposeB),
      b.tangent && tf.matMul(a.value, b.tangent, false, transposeB),
    ),
  })

  /** x W^T over the last axis; x [..., in], W [out, in]. */
  const linear = (x: Num, w: Tensor): Num =>
    each(x, (t) => {
      const [out, width] = w.shape as [number, number]
      const flat = tf.matMul(tf.reshape(t, [t.size / width, width]), w, false, true)
      return tf.reshape(flat, [...t.shape.slice(0, -1), out])
    })

  const concat = (parts: readonly Num[], axis: number): Num => ({
    value: tf.concat(
      parts.map((p) => p.value),
      axis,
    ),
    tangent: parts.some((p) => p.tangent)
      ? tf.concat(
          parts.map((p) => p.tangent ?? tf.zerosLike(p.value)),
          axis,
        )
      : null,
  })

  const sum = (x: Num, axis: number, keepDims = false): Num =>
    each(x, (t) => tf.sum(t, axis, keepDims))

  const softmax = (x: Num): Num => {
    const value = tf.softmax(x.value)
    if (!x.tangent) return { value, tangent: null }
    const weighted = tf.mul(value, x.tangent)
    return { value, tangent: tf.sub(weighted, tf.mul(value, tf.sum(weighted, -1, true))) }
  }

  /**
   * One softmax over scores of the context [B, H, N, T], with `mask` added, and the answer's `own` scores
   * [B, H, N, K]; the weights are returned as the same two parts.
   */
  const softmaxOfTwo = (context: Num, mask: Tensor | null, own: Num): [Num, Num] => {
    const whole = jointSoftmax(tf, context, mask, own)
    if (whole) return whole
    const visible = mask ? add(context, constant(mask)) : context
    const weights = softmax(concat([visible, own], 3))
    const t = context.value.shape[3] as number
    return [
      each(weights, (x) => tf.slice(x, [0, 0, 0, 0], [-1, -1, -1, t])),
      each(weights, (x) => tf.slice(x, [0, 0, 0, t], [-1, -1, -1, -1])),
    ]
  }

  /** x / sqrt(mean(x^2) + eps) * w; x [..., D], w [D]. */
  const rmsNorm = (x: Num, w: Tensor, eps: number): Num => {
    if (!x.tangent) return { value: rmsNormValue(tf, x.value, w, eps), tangent: null }
    const whole = fusedAll(tf, 'BasinNormDual', { x: x.value, t: x.tangent, w }, { eps })
    if (whole) return dual(whole)
    const r = tf.rsqrt(tf.add(tf.mean(tf.square(x.value), -1, true), eps))
    const normed = tf.mul(x.value, r)
    const along = tf.mean(tf.mul(normed, x.tangent), -1, true)
    const tangent = tf.mul(tf.sub(x.tangent, tf.mul(normed, along)), r)
    return { value: tf.mul(normed, w), tangent: tf.mul(tangent, w) }
  }

  /** silu(a) * b, the gate of SwiGLU. */
  const gate = (a: Num, b: Num): Num => {
    if (!a.tangent && !b.tangent) return { value: gateValue(tf, a.value, b.value), tangent: null }
    if (a.tangent && b.tangent) {
      const inputs = { a: a.value, b: b.value, ta: a.tangent, tb: b.tangent }
      const whole = fusedAll(tf, 'BasinGateDual', inputs)
      if (whole) return dual(whole)
    }
    const s = tf.sigmoid(a.value)
    const silu = tf.mul(a.value, s)
    const slope = tf.add(s, tf.mul(silu, tf.sub(1, s)))
    const value = tf.mul(silu, b.value)
    const tangent = plus(
      a.tangent && tf.mul(tf.mul(slope, a.tangent), b.value),
      b.tangent && tf.mul(silu, b.tangent),
    )
    return { value, tangent }
  }

  return { add, each, mul, matMul, linear, concat, sum, softmax, softmaxOfTwo, rmsNorm, gate }
}

const dual = ([value, tangent]: readonly Tensor[]): Num =>
  ({ value, tangent }) as { value: Tensor; tangent: Tensor }

/** By one kernel, where the backend has it and both parts have a tangent or neither has; else null. */
function jointSoftmax(tf: Tf, context: Num, mask: Tensor | null, own: Num): [Num, Num] | null {
  if ((context.tangent === null) !== (own.tangent === null)) return null
  const whole = fusedAll(tf, context.tangent ? 'BasinJointSoftmaxDual' : 'BasinJointSoftmax', {
    context: context.value,
    own: own.value,
    ...(mask && { mask }),
    ...(context.tangent &&
      own.tangent && { contextTangent: context.tangent, ownTangent: own.tangent }),
  })
  if (!whole) return null
  const [contextWeights, ownWeights, contextTangent = null, ownTangent = null] = whole as [
    Tensor,
    Tensor,
    Tensor?,
    Tensor?,
  ]
  return [
    { value: contextWeights, tangent: contextTangent },
    { value: ownWeights, tangent: ownTangent },
  ]
}

/** The two custom gradients below replace chains of small ops for speed. Both are of first order only. */
type Save = (tensors: Tensor[]) => void

function rmsNormValue(tf: Tf, x: Tensor, w: Tensor, eps: number): Tensor {
  const whole = fused(tf, 'BasinNorm', { x, w }, { eps })
  if (whole) return whole
  const op = tf.customGrad((...args) => {
    const [input, weight, save] = args as unknown as [Tensor, Tensor, Save]
    const r = tf.rsqrt(tf.add(tf.mean(tf.square(input), -1, true), eps))
    const normed = tf.mul(input, r)
    save([normed, weight, r])
    const gradFunc = (dy: Tensor, saved: Tensor[]): Tensor[] => {
      const [n, sw, sr] = saved as [Tensor, Tensor, Tensor]
      const scaled = tf.mul(dy, sw)
      const dx = tf.mul(tf.sub(scaled, tf.mul(n, tf.mean(tf.mul(scaled, n), -1, true))), sr)
      const dw = tf.sum(tf.reshape(tf.mul(dy, n), [-1, sw.size]), 0)
      return [dx, dw]
    }
    return { value: tf.mul(normed, weight), gradFunc }
  })
  return op(x, w)
}

function gateValue(tf: Tf, a: Tensor, b: Tensor): Tensor {
  const whole = fused(tf, 'BasinGate', { a, b })
  if (whole) return whole
  const op = tf.customGrad((...args) => {
    const [left, right, save] = args as unknown as [Tensor, Tensor, Save]
    const s = tf.sigmoid(left)
    const silu = tf.mul(left, s)
    save([s, silu, right])
    const gradFunc = (dy: Tensor, saved: Tensor[]): Tensor[] => {
      const [ss, ssilu, sb] = saved as [Tensor, Tensor, Tensor]
      const slope = tf.add(ss, tf.sub(ssilu, tf.mul(ssilu, ss)))
      return [tf.mul(tf.mul(dy, sb), slope), tf.mul(dy, ssilu)]
    }
    return { value: tf.mul(silu, right), gradFunc }
  })
  return op(a, b)
}
