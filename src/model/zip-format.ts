/** Numbers of the zip format that its reader (import/) and writer (export/) share. Sizes are in bytes. */

export const SIGNATURE = {
  localHeader: 0x04034b50,
  centralHeader: 0x02014b50,
  end: 0x06054b50,
  end64: 0x06064b50,
  end64Locator: 0x07064b50,
} as const

/** Sizes of the records without their names, extra fields and comments. */
export const LOCAL_HEADER_BYTES = 30
export const CENTRAL_HEADER_BYTES = 46
export const END_BYTES = 22
export const END64_BYTES = 56
export const END64_LOCATOR_BYTES = 20

/** A field with this value means that the number is in the zip64 record or extra field. */
export const IN_ZIP64_32 = 0xffffffff
export const IN_ZIP64_16 = 0xffff

/** The id of the zip64 extra field. */
export const ZIP64_EXTRA = 0x0001
