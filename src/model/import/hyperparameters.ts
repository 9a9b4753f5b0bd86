/**
 * Reads the hyper_parameters of a published checkpoint. Each must have the type that the reference gives
 * it; otherwise it is refused with its name.
 */
import { quote, refuse } from './refusal.js'

/** Settings by the reference's names. Values of other types are left out. */
export type Hyperparameters = Readonly<Record<string, number | string | boolean | null>>

export class Settings {
  constructor(
    private readonly values: Hyperparameters,
    readonly path: string,
  ) {}

  has(name: string): boolean {
    return Object.hasOwn(this.values, name) && this.values[name] !== null
  }

  flag(name: string, absent?: boolean): boolean {
    const value = this.value(name, absent)
    return typeof value === 'boolean' ? value : this.mistyped(name, 'true or false')
  }

  number(name: string, absent?: number): number {
    const value = this.value(name, absent)
    if (typeof value !== 'number' || !Number.isFinite(value)) return this.mistyped(name, 'a number')
    return value
  }

  count(name: string, absent?: number): number {
    const value = this.number(name, absent)
    return Number.isSafeInteger(value) && value >= 0
      ? value
      : this.mistyped(name, 'an integer from 0')
  }

  text(name: string, absent?: string): string {
    const value = this.value(name, absent)
    return typeof value === 'string' ? value : this.mistyped(name, 'a text')
  }

  /** One of `choices`. The error names the value that was found. */
  choice<T extends string>(name: string, choices: readonly T[], absent?: T): T {
    const value = this.text(name, absent)
    const found = choices.find((choice) => choice === value)
    const others = `; supported: ${choices.join(', ')}`
    return found ?? this.unsupported(name, quote(value), others)
  }

  unsupported(name: string, what: string, more = ''): never {
    refuse(this.path, `${name} ${what} is not supported${more}`)
  }

  private value(name: string, absent: unknown): unknown {
    if (this.has(name)) return this.values[name]
    if (absent !== undefined) return absent
    return refuse(this.path, `hyper_parameters lacks ${name}; give it with --hparams`)
  }

  private mistyped(name: string, kind: string): never {
    refuse(this.path, `hyper_parameters: ${name} must be ${kind}`)
  }
}
