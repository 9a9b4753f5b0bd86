/** Where answers are computed: on the server, or in this tab on the browser's own GPU. */
import { computed, signal } from '@preact/signals'
import { addressOf, alone, key, models } from './server.js'
import type { Model } from './wire.js'
import type { ModelFiles } from '../tab/protocol.js'

export const places = ['server', 'browser'] as const
export type Place = (typeof places)[number]

export const place = signal<Place>(alone ? 'browser' : 'server')

/** Why this browser cannot compute at all; empty where it can. */
export const lacking =
  'gpu' in navigator
    ? ''
    : isSecureContext
      ? 'This browser has no WebGPU.'
      : 'Browsers allow WebGPU on https and on localhost only.'

/** Whether the files of a model may be fetched, so that this browser can compute with it. */
export const hasFiles = (model: Model): boolean => alone || model.files === true

/** There is something to choose. */
export const choosable = computed(() => !alone && models.value.some(hasFiles))

export const filesOf = (name: string): ModelFiles => ({
  name,
  folder: addressOf(alone ? `models/${name}/` : `v1/models/${name}/files/`).href,
  authorization: key.value === '' ? '' : `Bearer ${key.value}`,
})
