/** `basin keys`: makes keys for `basin serve --keys`. */
import type { Command } from 'commander'
import { addKey } from '../../server/keys.js'

export function registerKeys(program: Command): void {
  program
    .command('keys')
    .description('API keys')
    .command('add')
    .description('a new key, told once; its hash goes into the file')
    .argument('<name>', 'whose it is: names the client in fair queueing and limits')
    .requiredOption('--file <file>', 'JSON file of names and hashes; made if it is not there')
    .option('--admin', 'may load and unload models too')
    .action((name: string, { admin, file }: { admin?: true; file: string }) => {
      console.log(addKey(file, name, admin))
    })
}
