/** The packages that Basin is installed without: what is said by a feature that needs one of them. */

/**
 * `needs the package NAME, which is not installed: npm install NAME`, to follow the name of the feature; undefined
 * where `error`, of loading the package, says something else.
 */
export function notInstalled(name: string, error: unknown): string | undefined {
  const { code = '', message } = error as NodeJS.ErrnoException
  // A package may look for others of its scope, which are installed with it.
  const [scope = name] = name.split('/')
  const absent = /^(ERR_)?MODULE_NOT_FOUND$/.test(code) && message.includes(`'${scope}`)
  return absent
    ? `needs the package ${name}, which is not installed: npm install ${name}`
    : undefined
}
