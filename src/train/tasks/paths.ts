/**
 * The only shortest path through a maze. A block is a grid of squares, row by row: `#` is a wall, `S` and
 * `G` are the two ends, and `_` is an open square whose answer is `x` on the path and `.` off it. A maze of
 * r x c rooms takes (2r - 1) x (2c - 1) squares, with rooms at even coordinates. Its place in the block is
 * random, with walls all around, so that mazes larger than those trained on use the same positions.
 */
import { BLANK, checkRange, type Draws, type Range, type Task } from './task.js'

export interface PathOptions {
  /** Number of rooms along a side, drawn with equal probability for height and width. */
  rooms: Range
  /** Number of squares along a side of the block, at least 2 rooms.max - 1. */
  side: number
  /**
   * Share of the remaining walls between rooms that are opened once the maze is a tree. This makes loops,
   * so that there are several ways, of which only the shortest is right. Mazes with two shortest paths
   * are rejected.
   */
  loops: number
}

/** The largest side for which K = side^2 is at most 4,096. */
const MAX_SIDE = 64

const WALL = '#'
const FREE = '.'
const ON_PATH = 'x'

interface Maze {
  height: number
  width: number
  /** [height x width]: true where a square is open. */
  open: boolean[]
}

/** The squares next to one, horizontally and vertically. */
function* neighbours({ height, width }: Maze, square: number): Generator<number> {
  const row = Math.floor(square / width)
  const column = square % width
  if (row > 0) yield square - width
  if (row < height - 1) yield square + width
  if (column > 0) yield square - 1
  if (column < width - 1) yield square + 1
}

/** The rooms next to a room, each with the square of the wall between. */
function* roomsBeside(
  { height, width }: Maze,
  room: number,
): Generator<{ room: number; wall: number }> {
  const row = Math.floor(room / width)
  const column = room % width
  if (row > 1) yield { room: room - 2 * width, wall: room - width }
  if (row < height - 2) yield { room: room + 2 * width, wall: room + width }
  if (column > 1) yield { room: room - 2, wall: room - 1 }
  if (column < width - 2) yield { room: room + 2, wall: room + 1 }
}

/**
 * Draws a maze: a spanning tree of the rooms, grown from a random one. It grows at the newest room with a
 * probability that is drawn for each maze (long corridors), and otherwise at any room reached so far
 * (many short dead ends).
 */
function drawMaze(draws: Draws, rows: number, columns: number, loops: number): Maze {
  const [height, width] = [2 * rows - 1, 2 * columns - 1]
  const maze: Maze = { height, width, open: new Array<boolean>(height * width).fill(false) }
  const first = 2 * (draws.below(rows) * width + draws.below(columns))
  const newest = draws.share()
  const growing = [first]
  maze.open[first] = true
  while (growing.length > 0) {
    const at = draws.share() < newest ? growing.length - 1 : draws.below(growing.length)
    const shut = [...roomsBeside(maze, growing[at] as number)].filter(
      ({ room }) => !maze.open[room],
    )
    const next = shut[draws.below(shut.length)]
    if (next) {
      maze.open[next.wall] = maze.open[next.room] = true
      growing.push(next.room)
    } else growing.splice(at, 1)
  }
  for (let square = 0; loops > 0 && square < height * width; square++) {
    const between = Math.floor(square / width) % 2 !== (square % width) % 2
    if (between && !maze.open[square]) maze.open[square] = draws.share() < loops
  }
  return maze
}

/** The squares of the shortest path, ends included; undefined if there are two such paths, or none. */
export function shortestPath(maze: Maze, start: number, goal: number): number[] | undefined {
  const distance = new Map([[start, 0]])
  const ways = new Map([[start, 1]])
  const queue = [start]
  for (const square of queue) {
    const next = (distance.get(square) as number) + 1
    for (const beside of neighbours(maze, square)) {
      if (!maze.open[beside]) continue
      const known = distance.get(beside)
      if (known === undefined) {
        distance.set(beside, next)
        queue.push(beside)
      }
      if (known === undefined || known === next)
        // The count stops at 2: it only matters whether there is exactly one way.
        ways.set(beside, Math.min(2, (ways.get(beside) ?? 0) + (ways.get(square) as number)))
    }
  }
  if (ways.get(goal) !== 1) return undefined
  const path = [goal]
  for (let square = goal; square !== start;) {
    const before = (distance.get(square) as number) - 1
    square = [...neighbours(maze, square)].find((s) => distance.get(s) === before) as number
    path.push(square)
  }
  return path.reverse()
}

/** The maze with walls around it as text, row by row; `at` gives the character of an open square. */
function frame(
  maze: Maze,
  side: number,
  top: number,
  left: number,
  at: (square: number) => string,
): string {
  return Array.from({ length: side * side }, (_, place) => {
    const row = Math.floor(place / side) - top
    const column = (place % side) - left
    const inside = row >= 0 && row < maze.height && column >= 0 && column < maze.width
    const square = row * maze.width + column
    return inside && maze.open[square] ? at(square) : WALL
  }).join('')
}

/** The rows of a block without the rows and columns that are walls only. */
function crop(text: string, side: number): string[] {
  const rows = Array.from({ length: side }, (_, r) => text.slice(r * side, (r + 1) * side))
  const held = rows.filter((row) => row !== WALL.repeat(side))
  const left = Math.min(...held.map((row) => row.search(/[^#]/)))
  const right = Math.max(...held.map((row) => row.trimEnd().replace(/#+$/, '').length))
  return held.map((row) => row.slice(left, right))
}

const transpose = (rows: readonly string[]): string[] =>
  Array.from(rows[0] ?? '', (_, column) => rows.map((row) => row[column]).join(''))

/** The first in order of a maze's rotations and reflections, with both ends written alike. */
function canonicalMaze(text: string, side: number): string {
  const upright = crop(text.replaceAll('G', 'S'), side)
  const variants = [upright, transpose(upright)].flatMap((rows) => {
    const mirrored = rows.map((row) => Array.from(row).reverse().join(''))
    return [rows, mirrored, [...rows].reverse(), [...mirrored].reverse()].map((r) => r.join('\n'))
  })
  return variants.sort()[0] as string
}

export function pathTask({ rooms, side, loops }: PathOptions): Task {
  checkRange('side', { min: side, max: side }, 3, MAX_SIDE)
  checkRange('rooms', rooms, 2, Math.floor((side + 1) / 2))
  return {
    name: 'maze',
    block: side * side,
    layout: { kind: 'maze', columns: side },
    alphabet: [WALL, FREE, ON_PATH, 'S', 'G'],
    draw(draws) {
      const [rows, columns] = [draws.within(rooms), draws.within(rooms)]
      const maze = drawMaze(draws, rows, columns, loops)
      const drawRoom = () => 2 * (draws.below(rows) * maze.width + draws.below(columns))
      const [start, goal] = [drawRoom(), drawRoom()]
      const path = start === goal ? undefined : shortestPath(maze, start, goal)
      if (!path) return undefined
      const top = draws.below(side - maze.height + 1)
      const left = draws.below(side - maze.width + 1)
      const text = (square: (square: number) => string) =>
        frame(maze, side, top, left, (s) => (s === start ? 'S' : s === goal ? 'G' : square(s)))
      return {
        template: text(() => BLANK),
        completion: text((s) => (path.includes(s) ? ON_PATH : FREE)),
        facts: { rooms: Math.max(rows, columns), length: path.length - 1 },
      }
    },
    form: (template) => canonicalMaze(template, side),
    answerForm: (completion) => canonicalMaze(completion, side),
  }
}
