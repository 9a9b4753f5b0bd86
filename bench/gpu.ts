/** What a GPU can do at most, measured by kernels of their own: what the engine is compared with. */
import type { Device } from '../src/energy/webgpu/device.js'
import type { KernelSource } from '../src/energy/webgpu/kernels/source.js'
import { Memory } from '../src/energy/webgpu/memory.js'

export interface DeviceLimits {
  /** Multiply-adds count two. */
  flops: number
  /** Read and written. */
  bytesPerSecond: number
  /** Of a dispatch that does nothing, in a pass of many. */
  dispatchMilliseconds: number
}

const runs = 5
type Grid = [number, number, number]
/** Multiply-adds of a thread; 16 chains of vectors of four keep the units busy. */
const chains = 16
const links = 256

/** `round` and `rows`, which every kernel is bound to, are not looked at here. */
const head = `struct Round { count: u32 }
@group(0) @binding(0) var<uniform> round: Round;
@group(0) @binding(2) var<storage, read_write> data: array<vec4f>;
`

const multiplyAdds: KernelSource = {
  name: 'peak',
  bindings: [{ name: 'data', type: 'vec4f', write: true }],
  code: `${head}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3u) {
  let x = data[g.x];
  let y = x * 0.5;
${Array.from({ length: chains }, (_, i) => `  var a${i} = x + ${i}.0;`).join('\n')}
  for (var i = 0u; i < ${links}u; i++) {
${Array.from({ length: chains }, (_, i) => `    a${i} = fma(a${i}, x, y);`).join('\n')}
  }
  data[g.x] = ${Array.from({ length: chains }, (_, i) => `a${i}`).join(' + ')};
}`,
}

const copy: KernelSource = {
  name: 'bandwidth',
  bindings: [{ name: 'data', type: 'vec4f', write: true }],
  code: `${head}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) g: vec3u) {
  let i = g.x + g.y * 65535u * 64u;
  if (i < arrayLength(&data)) { data[i] = data[i] * 1.0001; }
}`,
}

const nothing: KernelSource = {
  name: 'nothing',
  bindings: [{ name: 'data', type: 'vec4f', write: true }],
  code: `${head}
@compute @workgroup_size(1)
fn main(@builtin(global_invocation_id) g: vec3u) {
  if (round.count == 1u) { data[g.x] = vec4f(); }
}`,
}

export async function measureDevice(device: Device): Promise<DeviceLimits> {
  const memory = new Memory(device)
  const numbers = Math.min(2 ** 26, Math.floor(device.largestBuffer / 4))
  const uniforms = memory.uniforms(1)
  const rows = memory.storage('rows', 16)
  const data = memory.storage('data', device.adapter.software ? 2 ** 20 : numbers)

  /** Seconds of `count` dispatches in one submission: the best of a few. */
  const seconds = async (source: KernelSource, count: number, grid: Grid) => {
    const kernel = await device.compile(source)
    const group = device.bind(kernel, uniforms, rows, [data])
    const times: number[] = []
    for (let run = 0; run < runs; run++) {
      const encoder = device.encoder()
      const pass = encoder.beginComputePass()
      for (let i = 0; i < count; i++) {
        pass.setPipeline(kernel.pipeline)
        pass.setBindGroup(0, group, [0])
        pass.dispatchWorkgroups(...grid)
      }
      pass.end()
      const began = performance.now()
      await device.submitAndRead(encoder, [{ buffer: data, from: 0, bytes: 4 }])
      times.push((performance.now() - began) / 1000)
    }
    return Math.min(...times)
  }

  /** Seconds of one more dispatch, without what a submission itself takes. */
  const each = async (source: KernelSource, few: number, many: number, grid: Grid) => {
    const more = (await seconds(source, many, grid)) - (await seconds(source, few, grid))
    return Math.max(0, more) / (many - few)
  }
  const threads = device.adapter.software ? 2 ** 10 : 2 ** 20
  const peak = await each(multiplyAdds, 2, 10, [threads / 64, 1, 1])
  const groups = Math.ceil(data.size / 16 / 64)
  const across = Math.min(groups, 65535)
  const moved = await each(copy, 2, 10, [across, Math.ceil(groups / 65535), 1])
  const launch = await each(nothing, 64, 1088, [1, 1, 1])
  const limits = {
    flops: (threads * 4 * 2 * chains * links) / peak,
    bytesPerSecond: (2 * data.size) / moved,
    dispatchMilliseconds: 1000 * launch,
  }
  memory.free()
  return limits
}
