/**
 * What is measured for each shipped model: budgets, and data that `basin tasks` makes with seeds that no
 * training used. Data named `harder` goes beyond what the model was trained on. A shipped model without a
 * plan is an error, so that every one is measured. `parts`: what the blanks of an answer are, where the share of
 * those that are right is listed too. `language`: reported before the others. `note`: what
 * a reader has to know of its figures.
 */

/** `times`: budgets as multiples of the trained number of steps. */
const long = { rows: 48, times: [1, 4, 16, 100] }
const budgets = [1, 2, 4, 8, 16, 32]
const deepBudgets = [...budgets, 64]
const candidates = { counts: [1, 2, 4, 8], budgets: [4, 8, 16, 32] }

/** `totals`: numbers of steps that candidates divide among them. */
const allocation = { rows: 100, totals: [8, 16, 24, 32, 64] }

const task = (name, words, more = {}) => ({ name, words, ...more })

const sudoku6 = {
  trained: task('trained on', ['sudoku', '--size', '6', '--count', '60000', '--seed', '1']),
  data: [
    task('held out', ['sudoku', '--size', '6', '--seed', '777'], { rows: 400 }),
    task('harder', ['sudoku', '--size', '6', '--givens', '8-9', '--seed', '4242'], {
      rows: 400,
      harder: 'as few givens as its solution allows, 8 at the least',
    }),
  ],
  by: 'givens',
  budgets,
  candidates: { ...candidates, rows: 150 },
  long,
  allocation,
}

export const plans = {
  sudoku6: { ...sudoku6, title: '6x6 sudoku' },
  'sudoku6-exact': {
    ...sudoku6,
    title: '6x6 sudoku by the true gradient',
    budgets: deepBudgets,
    candidates: { ...sudoku6.candidates, budgets: [16, 32, 64], rows: 100 },
    long: { ...long, rows: 32 },
  },
  sudoku9: {
    title: '9x9 sudoku',
    data: [
      task('held out', ['sudoku', '--size', '9', '--givens', '30-45', '--seed', '777'], {
        rows: 160,
      }),
      task('harder', ['sudoku', '--size', '9', '--givens', '23-28', '--seed', '4242'], {
        rows: 160,
        harder: '23 to 28 givens',
      }),
    ],
    by: 'givens',
    budgets: [...deepBudgets, 128, 256],
    candidates: { ...candidates, budgets: [16, 32, 64], rows: 40 },
    long: { ...long, rows: 16 },
    allocation: { rows: 40, totals: [32, 64, 128] },
  },
  addition: {
    title: 'Addition',
    data: [
      task('held out', ['addition', '--digits', '1-8', '--seed', '777'], { rows: 400 }),
      task('harder', ['addition', '--digits', '9-12', '--seed', '4242'], {
        rows: 400,
        harder: '9 to 12 digits, trained on 1 to 8',
      }),
    ],
    by: 'carry',
    budgets,
    candidates: { ...candidates, rows: 100 },
    long,
    allocation,
  },
  worlds: {
    title: 'Stories and their state',
    language: true,
    trained: task('trained on', ['world', '--count', '60000', '--seed', '1']),
    data: [
      task('held out', ['world', '--seed', '777'], { rows: 100 }),
      task('longer', ['world', '--sentences', '9-12', '--seed', '4242'], {
        rows: 100,
        harder: '9 to 12 sentences, trained on 3 to 8',
      }),
      task('harder', ['world', '--sentences', '6-8', '--hops', '4-6', '--seed', '4242'], {
        rows: 200,
        harder: 'facts that came through 4 or more people, trained on 2',
      }),
    ],
    note: 'The control had 588 seconds of processor time, the energy model 1,699.',
    by: 'hops',
    parts: 'facts',
    budgets,
    candidates: { ...candidates, budgets: [4, 8, 16], rows: 20 },
    long: { rows: 16, times: [1, 4, 16] },
    allocation: { rows: 20, totals: [16, 32] },
  },
  paths: {
    title: 'Shortest paths',
    data: [
      task('held out', ['paths', '--rooms', '2-4', '--seed', '777'], { rows: 200 }),
      task('harder', ['paths', '--rooms', '5-6', '--seed', '4242'], {
        rows: 200,
        harder: 'mazes of 5 to 6 rooms a side, trained on 2 to 4',
      }),
    ],
    by: 'length',
    budgets: deepBudgets,
    candidates: { ...candidates, budgets: [16, 32, 64], rows: 40 },
    long: { ...long, rows: 16 },
    allocation: { rows: 40, totals: [32, 64, 128] },
  },
  tales: {
    title: 'Stories in blocks',
    language: true,
    text: true,
    budgets,
    note: 'Every position of a block of 32 blanks is read by itself here, as nothing is written: in rounds, or between known text, see [blocks of text](#blocks-of-text). The control had some 860 seconds of processor time, the energy model some 1,060, and 211 seconds of a GPU.',
  },
  stories: { title: 'Stories', language: true, text: true, budgets: [0, ...budgets, 200] },
}
