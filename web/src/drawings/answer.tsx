/** The answer of a run at one moment, drawn as its model's layout says. */
import { useMemo } from 'preact/hooks'
import { cellsOf, certaintyOf, isSpecial } from '../cells.js'
import { beforeBlock, type Recording, stepAt } from '../recording.js'
import type { Model, Position, StepEvent } from '../wire.js'
import { BracketsDrawing } from './brackets.js'
import { GraphDrawing } from './graph.js'
import { MazeDrawing } from './maze.js'
import { PlainDrawing } from './plain.js'
import type { DrawingProps } from './props.js'
import { SentencesDrawing } from './sentences.js'
import { StoryDrawing } from './story.js'
import { SudokuDrawing } from './sudoku.js'
import { SumDrawing } from './sum.js'

interface AnswerProps {
  model: Model
  /** Absent: what is to be answered, before a run. */
  recording: Recording | undefined
  input: string
  cursor: number
  candidate?: number | undefined
  own: ReadonlySet<number>
  edit?: DrawingProps['edit']
  replace?: (piece: number, text: string) => void
  label: string
}

/** The reading of a position where the server told no alternatives. */
const alone = (text: string) => ({ tokens: [text], probabilities: [1] })

/** The positions of a block that settles, up to the end of the text if it ends there. */
function wordsOf({ positions, text }: StepEvent): Position[] {
  if (!positions || positions.length < 2) return [{ ...(positions?.[0] ?? alone(text)) }]
  const end = positions.findIndex(({ tokens: [token = ''] }) => isSpecial(token))
  return positions.slice(0, end < 0 ? positions.length : end)
}

export function AnswerDrawing(props: AnswerProps) {
  const { candidate, cursor, edit, input, label, model, own, recording, replace } = props
  const { template } = model.capabilities
  const moment = recording?.moments[cursor]
  const step = stepAt(moment, candidate)
  const asked = template && recording ? recording.templateAt(cursor, template.layout) : input
  const cells = useMemo(
    () => (template ? cellsOf(asked, template, step) : []),
    [template, asked, step],
  )
  if (!template) {
    const done = recording?.ending !== undefined && cursor >= recording.moments.length - 1
    const ended = done && moment ? { ...moment, settled: recording.pieces.length } : moment
    const words = step && wordsOf(step)
    const gaps = recording?.request.template
    const before = gaps !== undefined && step ? beforeBlock(gaps, step.text) : input
    return (
      <StoryDrawing
        prompt={gaps !== undefined && ended && ended.settled > 0 ? '' : before}
        pieces={recording?.pieces ?? []}
        moment={ended}
        current={done ? undefined : words}
        {...(replace && { replace })}
      />
    )
  }
  const { layout } = template
  const shared = { cells, own, label, ...(edit && { edit }) }
  const drawing = (() => {
    switch (layout?.kind) {
      case 'sudoku':
        return <SudokuDrawing {...shared} layout={layout} />
      case 'maze':
        return <MazeDrawing {...shared} layout={layout} />
      case 'sum':
        return <SumDrawing {...shared} layout={layout} />
      case 'brackets':
        return <BracketsDrawing {...shared} layout={layout} />
      case 'sentences':
        return <SentencesDrawing {...shared} layout={layout} />
      case 'graph':
        return <GraphDrawing {...shared} layout={layout} />
      case undefined:
        return <PlainDrawing {...shared} layout={null} />
    }
  })()
  return (
    <div class="drawing" data-certainty={certaintyOf(cells).toFixed(3)}>
      {drawing}
    </div>
  )
}
