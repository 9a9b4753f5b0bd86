/** `basin keys`: makes, lists and revokes API keys for `basin serve --keys`. */
import type { Command } from 'commander'
import { addKey, keyHolders, revokeKey } from '../../server/api-keys.js'
import { table } from './list-command.js'

interface KeysFlags {
  file: string
}

export function registerKeys(program: Command): void {
  const keys = program.command('keys').description('make, list and revoke API keys')
  keys
    .command('add')
    .description('make a key, print it once, and add its hash to the file')
    .argument('<name>', 'the name of its owner, by which limits and fair queueing know a client')
    .requiredOption('--file <file>', 'JSON file of names and hashes; made if it does not exist')
    .option('--admin', 'the key may also load and unload models')
    .action((name: string, { admin, file }: KeysFlags & { admin?: true }) => {
      console.log(addKey(file, name, admin))
    })
  keys
    .command('list')
    .description('the names in the file, and which may administer')
    .requiredOption('--file <file>', 'JSON file of names and hashes')
    .action(({ file }: KeysFlags) => {
      const rows = keyHolders(file).map(({ admin, name }) => [name, admin ? 'yes' : 'no'])
      if (rows.length > 0) console.log(table([['NAME', 'ADMINISTRATOR'], ...rows]))
      else console.log(`there are no keys in ${file}; basin keys add NAME --file ${file} makes one`)
    })
  keys
    .command('revoke')
    .description(
      'take the key of a name out of the file; a running server refuses it within a second',
    )
    .argument('<name>', 'the name of its owner')
    .requiredOption('--file <file>', 'JSON file of names and hashes')
    .action((name: string, { file }: KeysFlags) => {
      revokeKey(file, name)
      console.log(`the key of ${name} is revoked`)
    })
}
