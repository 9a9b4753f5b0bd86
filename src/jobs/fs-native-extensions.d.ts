declare module 'fs-native-extensions' {
  /** Locks an open file for this process alone. False where another holds a lock on it. */
  export function tryLock(descriptor: number): boolean
  export function unlock(descriptor: number): void
}
