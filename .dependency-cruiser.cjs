/** Imports go down the staircase only (docs/architecture.md), and never in a circle. */
const layers = [
  ['cli'],
  ['library'],
  ['server'],
  ['jobs'],
  ['train', 'generation'],
  ['energy'],
  ['model', 'tokenizer', 'scheduler', 'refine'],
]
const above = layers.map((names, depth) => ({
  name: `no-import-upwards-from-${names.join('-')}`,
  comment: `${names.join(', ')} may import only from folders below`,
  severity: 'error',
  from: { path: `^src/(${names.join('|')})/` },
  to: { path: `^src/(${layers.slice(0, depth).flat().concat('(?!)').join('|')})/` },
}))
const beside = layers
  .filter((names) => names.length > 1)
  .flatMap((names) =>
    names.map((name) => ({
      name: `no-import-sideways-from-${name}`,
      comment: `${name} may not import from a folder of its own level`,
      severity: 'error',
      from: { path: `^src/${name}/` },
      to: { path: `^src/(${names.filter((other) => other !== name).join('|')})/` },
    })),
  )

module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'errors-import-nothing',
      severity: 'error',
      from: { path: '^src/errors\\.ts$' },
      to: { path: '^src/' },
    },
    {
      name: 'scheduler-knows-no-tensors',
      severity: 'error',
      from: { path: '^src/(scheduler|refine)/' },
      to: { path: '@tensorflow|^src/energy/' },
    },
    {
      name: 'generation-client-and-core-apart',
      comment:
        'they meet in generation/protocol.ts: one lives in the server thread, one in the worker thread',
      severity: 'error',
      from: { path: '^src/generation/client/' },
      to: { path: '^src/generation/core/' },
    },
    {
      name: 'generation-core-and-client-apart',
      severity: 'error',
      from: { path: '^src/generation/core/' },
      to: { path: '^src/generation/client/' },
    },
    {
      name: 'generation-core-answers-know-no-requests',
      severity: 'error',
      from: { path: '^src/generation/core/answers/' },
      to: { path: '^src/generation/core/', pathNot: '^src/generation/core/answers/' },
    },
    {
      name: 'generation-core-terms-know-no-requests',
      severity: 'error',
      from: { path: '^src/generation/core/terms/' },
      to: { path: '^src/generation/core/', pathNot: '^src/generation/core/(answers|terms)/' },
    },
    {
      name: 'generation-core-requests-know-no-step',
      severity: 'error',
      from: { path: '^src/generation/core/requests/' },
      to: {
        path: '^src/generation/core/',
        pathNot: '^src/generation/core/(answers|requests|terms)/',
      },
    },
    {
      name: 'client-stands-alone',
      comment: 'it runs in browsers: no file of another room, no package, nothing of Node',
      severity: 'error',
      from: { path: '^src/client/' },
      to: { pathNot: '^src/client/' },
    },
    {
      name: 'only-the-terminal-imports-the-client',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(client|cli)/' },
      to: { path: '^src/client/' },
    },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...above,
    ...beside,
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
