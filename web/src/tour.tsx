/** Five sentences for a first visit: what is falling, and why. */
import { signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'

const SEEN = 'basin-tour'

export const tourIsNew = signal(localStorage.getItem(SEEN) === null)
/** What the present sentence speaks of, as `data-tour` of an element. */
export const pointed = signal('')

const sentences: readonly { about: string; text: string }[] = [
  {
    about: 'answer',
    text: 'This model does not write its answer word by word: it begins with a poor guess at all of it, and improves the guess.',
  },
  {
    about: 'energy',
    text: 'One number, the energy, says how badly a guess fits what is given; the model has learned to compute it, and low means good.',
  },
  {
    about: 'chart',
    text: 'Every step moves the whole guess a little downhill, so the energy falls, as a ball rolls to the bottom of a basin.',
  },
  {
    about: 'answer',
    text: 'Dark ink is what the model is sure of, small grey marks are what it still weighs, and a flash is a change of mind.',
  },
  {
    about: 'transport',
    text: 'How long it thinks is yours to say: pause it, take one step, change a cell and watch the rest follow, or give it more steps.',
  },
]

export function endTour(remember = true): void {
  tourIsNew.value = false
  pointed.value = ''
  if (remember) localStorage.setItem(SEEN, 'seen')
}

const place = signal(0)

export function Tour() {
  const open = tourIsNew.value
  const sentence = sentences[place.value]
  useEffect(() => {
    pointed.value = open ? (sentence?.about ?? '') : ''
    return () => {
      pointed.value = ''
    }
  }, [open, sentence])
  if (!open || !sentence) return null
  const last = place.value === sentences.length - 1
  const close = (): void => {
    place.value = 0
    endTour()
  }
  return (
    <section class="tour" aria-label="Guided tour">
      <p class="sentence" aria-live="polite">
        {sentence.text}
      </p>
      <div class="steps">
        <span class="dots" aria-hidden="true">
          {sentences.map((_, i) => (
            <span key={i} class={i === place.value ? 'dot here' : 'dot'} />
          ))}
        </span>
        <span class="sr">
          Sentence {place.value + 1} of {sentences.length}
        </span>
        {place.value > 0 && (
          <button type="button" class="quiet" onClick={() => place.value--}>
            Back
          </button>
        )}
        <button type="button" class="primary" onClick={() => (last ? close() : (place.value += 1))}>
          {last ? 'Try it' : 'Next'}
        </button>
        {!last && (
          <button type="button" class="quiet" onClick={close}>
            Skip
          </button>
        )}
      </div>
    </section>
  )
}
