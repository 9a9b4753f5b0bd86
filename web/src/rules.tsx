/** Rules that are added to the energy: typed, listed, and how far each is kept at the step that is shown. */
import { useSignal } from '@preact/signals'
import { short } from './chart.js'
import { diagonals, examples, parseRule } from './rule-text.js'
import { rules, setRules } from './state.js'
import type { Model, TermValue } from './wire.js'

export function Rules({ model, terms }: { model: Model; terms: readonly TermValue[] | undefined }) {
  const typed = useSignal('')
  const layout = model.capabilities.template?.layout
  const wrong = typed.value !== '' && !parseRule(typed.value)
  const add = (rule: string): void => {
    if (!parseRule(rule) || rules.value.includes(rule)) return
    setRules([...rules.value, rule])
    typed.value = ''
  }
  return (
    <section class="panel rules" aria-label="Rules">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          add(typed.value.trim())
        }}
      >
        <label for="rule">Rules and wishes beside the model’s own</label>
        <input
          id="rule"
          list="rule-examples"
          value={typed.value}
          spellcheck={false}
          placeholder={layout?.kind === 'sudoku' ? '0 < 2' : 'contains dragon'}
          aria-describedby="rule-hint"
          aria-invalid={wrong}
          onInput={({ currentTarget }) => (typed.value = currentTarget.value)}
        />
        <datalist id="rule-examples">
          {examples.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        <button type="submit" disabled={typed.value === '' || wrong}>
          Add
        </button>
        {layout?.kind === 'sudoku' && (
          <button type="button" onClick={() => add(diagonals(layout.columns))}>
            Diagonals
          </button>
        )}
      </form>
      <p class="hint" id="rule-hint">
        {wrong
          ? `Write it like one of these: ${examples.join('; ')}.`
          : 'They are added to the energy, so the model never has to have seen them. Positions count from 0.'}
      </p>
      {rules.value.length > 0 && (
        <ul>
          {rules.value.map((rule, i) => {
            const term = terms?.[i]
            const state = term ? (term.satisfied ? 'kept' : 'broken') : 'not asked yet'
            return (
              <li key={rule} class={term?.satisfied ? 'kept' : ''}>
                <code>{rule}</code>
                <span class="value" data-testid={`rule-${String(i)}`}>
                  {term ? `${state}, ${short(term.value)}` : state}
                </span>
                <button
                  type="button"
                  aria-label={`Remove ${rule}`}
                  onClick={() => setRules(rules.value.filter((each) => each !== rule))}
                >
                  Remove
                </button>
              </li>
            )
          })}
        </ul>
      )}
    </section>
  )
}
