/** `basin keys`: makes API keys for `basin serve --keys`. */
import type { Command } from 'commander'
import { addKey } from '../../server/api-keys.js'

export function registerKeys(program: Command): void {
  program
    .command('keys')
    .description('make API keys')
    .command('add')
    .description('make a key, print it once, and add its hash to the file')
    .argument('<name>', 'the name of its owner, by which limits and fair queueing know a client')
    .requiredOption('--file <file>', 'JSON file of names and hashes; made if it does not exist')
    .option('--admin', 'the key may also load and unload models')
    .action((name: string, { admin, file }: { admin?: true; file: string }) => {
      console.log(addKey(file, name, admin))
    })
}
