/** Light or dark: as the system says, until the reader does. */
import { effect, signal } from '@preact/signals'

const THEME = 'basin-theme'
const dark = matchMedia('(prefers-color-scheme: dark)')
const chosen = localStorage.getItem(THEME)

export const theme = signal<'light' | 'dark'>(
  chosen === 'light' || chosen === 'dark' ? chosen : dark.matches ? 'dark' : 'light',
)

dark.addEventListener('change', ({ matches }) => {
  if (localStorage.getItem(THEME) === null) theme.value = matches ? 'dark' : 'light'
})

effect(() => {
  document.documentElement.dataset['theme'] = theme.value
})

/** The present value of a custom property of the style sheet, for what is painted on a canvas. */
export const styleOf = (name: string): string =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim()

export function toggleTheme(): void {
  theme.value = theme.value === 'dark' ? 'light' : 'dark'
  localStorage.setItem(THEME, theme.value)
}
