/**
 * Builds the page into dist/page: one script, one style sheet, the script of the worker that computes in the
 * tab, and all of them compressed, so that the server only hands out files. `--watch` builds again whenever a
 * source changes.
 */
import { build, context } from 'esbuild'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const web = fileURLToPath(new URL('.', import.meta.url))
const out = fileURLToPath(new URL('../dist/page/', import.meta.url))
const files = join(out, 'page')

/** Most that a browser may have to load, gzipped. */
const LIMIT_KB = 200

function compress() {
  let total = 0
  for (const [folder, name] of [
    [out, 'index.html'],
    ...readdirSync(files).map((f) => [files, f]),
  ]) {
    const path = join(folder, name)
    if (!/\.(html|js|css|svg)$/.test(name)) continue
    const bytes = readFileSync(path)
    const zipped = gzipSync(bytes, { level: 9 })
    total += zipped.length
    writeFileSync(`${path}.gz`, zipped)
    const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY }
    writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: quality }))
  }
  const kilobytes = total / 1000
  console.log(`the page is in dist/page: ${kilobytes.toFixed(1)} kB gzipped`)
  if (kilobytes > LIMIT_KB) throw new Error(`the page is larger than ${LIMIT_KB} kB gzipped`)
}

rmSync(out, { recursive: true, force: true })
mkdirSync(files, { recursive: true })
copyFileSync(join(web, 'index.html'), join(out, 'index.html'))
copyFileSync(join(web, 'icon.svg'), join(files, 'icon.svg'))

const options = {
  entryPoints: {
    page: join(web, 'src/main.tsx'),
    style: join(web, 'style.css'),
    tab: join(web, 'tab/worker.ts'),
  },
  alias: { 'node:crypto': join(web, 'tab/no-crypto.ts') },
  outdir: files,
  bundle: true,
  minify: true,
  format: 'esm',
  target: ['es2022', 'safari16'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  logLevel: 'warning',
}

if (process.argv.includes('--watch')) await (await context(options)).watch()
else {
  await build(options)
  compress()
}
