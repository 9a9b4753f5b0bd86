/** Kernels in WGSL, with what all of them begin with: bindings, uniforms, and sums by the threads of a row. */
export interface DeviceKernel {
  /** Kernels of one name have one source. */
  name: string
  /** Names of arrays, in the order of bindings; of float32 unless their type follows, as in `ids: i32`. */
  inputs: readonly string[]
  outputs: readonly string[]
  uniforms: readonly { name: string; type: 'uint32' | 'float32' }[]
  threads: number
  /** Functions and variables outside the body. */
  declarations?: string
  /** Has `group`, the number of the workgroup, and `thread`, the number of the thread in it. */
  body: string
}

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export const counts = (...names: string[]): DeviceKernel['uniforms'] =>
  names.map((name) => ({ name, type: 'uint32' }))

export function sourceOf(kernel: DeviceKernel): string {
  const { body, declarations = '', inputs, outputs, threads, uniforms } = kernel
  const arrays = [...inputs, ...outputs].map((given, i) => {
    const [name, type = 'f32'] = given.split(': ') as [string, string?]
    const access = i < inputs.length ? 'read' : 'read_write'
    return `@group(0) @binding(${i}) var<storage, ${access}> ${name} : array<${type}>;`
  })
  const fields = uniforms.map(({ name, type }) => `${name} : ${type === 'uint32' ? 'u32' : 'f32'},`)
  return `
${arrays.join('\n')}
struct Uniforms { ${fields.join(' ')} }
@group(0) @binding(${arrays.length}) var<uniform> uniforms : Uniforms;
${declarations}
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) at : vec3<u32>,
  @builtin(num_workgroups) groups : vec3<u32>,
  @builtin(local_invocation_index) thread : u32,
) {
  let group = at.y * groups.x + at.x;
${body}
}`
}

const known = new Map<string, DeviceKernel>()

/** The kernel of a name, written by its first call. */
export function kernelOf(name: string, write: (name: string) => DeviceKernel): DeviceKernel {
  let kernel = known.get(name)
  if (!kernel) known.set(name, (kernel = write(name)))
  return kernel
}

/** Threads of the workgroups of kernels that compute each number, or each row, for itself. */
export const THREADS = 64

/** Threads for a row of so many numbers: a power of two, four numbers or more each. */
export function lanesFor(width: number): number {
  let lanes = 1
  while (lanes < THREADS && lanes * 4 < width) lanes *= 2
  return lanes
}

export const groupsOfRows = (rows: number, lanes: number): number =>
  Math.ceil((rows * lanes) / THREADS)

/**
 * What kernels of rows begin with: `row`, `lane` and `alive`, which is false beyond the last row; and `total` and
 * `largest` of a number of each lane, which all threads must call. The order of a sum depends on the width alone.
 */
export const ofRows = (lanes: number): { declarations: string; begin: string } => ({
  declarations: `
const LANES = ${lanes}u;
var<workgroup> parts : array<f32, ${THREADS}>;
${reduction('total', 'parts[thread] + parts[thread + reach]')}
${reduction('largest', 'max(parts[thread], parts[thread + reach])')}`,
  begin: `
  let row = group * ${THREADS / lanes}u + thread / LANES;
  let lane = thread % LANES;
  let alive = row < uniforms.rows;`,
})

const reduction = (name: string, joined: string): string => `
fn ${name}(x : f32, thread : u32) -> f32 {
  parts[thread] = x;
  workgroupBarrier();
  for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
    if (thread % LANES < reach) { parts[thread] = ${joined}; }
    workgroupBarrier();
  }
  let result = parts[thread - thread % LANES];
  workgroupBarrier();
  return result;
}`
