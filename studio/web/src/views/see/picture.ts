// Where everything stands in the picture of the network, and what its edges are.
import type { Param, Seen } from '../../lib/api.ts'
import { largest } from '../../lib/colour.ts'
import type { Phase, Step } from './steps.ts'

export const tileHeight = 24
const pitch = 27
const head = 46
const imageSide = 84
const narrow = 60
const broad = 78 // of logits, which also name their class
const broader = 94 // of probabilities, and of loss, cost and penalty under them
const gridSide = 84
const thumbnail = 22

/** A layer with more units is a grid of cells; the strongest are picked out as tiles. */
export const mostTiles = 24
export const strongest = 16

export interface Column {
  layer: number
  x: number
  width: number
  units: number
  shown: number[] // as tiles
  top: number // of the first tile
  grid: { top: number; columns: number; rows: number; cell: number } | null
}

export interface Picture {
  width: number
  height: number
  columns: Column[] // the input, the layers, the probabilities
  image: { x: number; y: number; side: number }
}

/** Lays the network out over at least so many pixels. `strengths` rank the units of a layer. */
export function layOut(seen: Seen, strengths: ArrayLike<number>[], wanted: number[][], room: number): Picture {
  const counts = [...seen.layers.map((l) => l.output.length), seen.probabilities.length]
  const last = counts.length - 1
  const widths = counts.map((n, i): number => (i === last ? broader : n > mostTiles ? gridSide : i === last - 1 ? broad : narrow))
  const shares = counts.map((_, i): number => (seen.layers[i]?.kind === 'dense' ? 5 : 1))
  const fixed = imageSide + widths.reduce((a, b) => a + b)
  const gap = Math.max(8, (room - fixed) / shares.reduce((a, b) => a + b))

  const gridOf = (n: number) => {
    const columns = Math.ceil(Math.sqrt(n / 2))
    return { columns, rows: Math.ceil(n / columns), cell: gridSide / columns }
  }
  const tall = counts.map((n) => (n > mostTiles ? gridOf(n).rows * gridOf(n).cell + 8 + strongest * pitch : n * pitch))
  const below = 3 * (tileHeight + 3) + 40 // loss, cost and penalty under the probabilities
  const inner = Math.max(imageSide, ...tall.slice(0, -1), tall[last]! + below)

  let x = imageSide
  const columns = counts.map((units, i): Column => {
    x += gap * shares[i]!
    const column = { layer: i + 1, x, width: widths[i]!, units }
    x += widths[i]!
    const start = head + (inner - tall[i]! - (i === last ? below : 0)) / 2
    if (units <= mostTiles) return { ...column, shown: Array.from({ length: units }, (_, u) => u), top: start, grid: null }
    const grid = { top: start, ...gridOf(units) }
    return { ...column, shown: pick(strengths[i]!, wanted[i] ?? []), top: start + grid.rows * grid.cell + 8, grid }
  })
  const image = { x: 0, y: head + (inner - imageSide) / 2, side: imageSide }
  const input: Column = { layer: 0, x: 0, width: imageSide, units: 0, shown: [], top: image.y, grid: null }
  return { width: x, height: head + inner + 4, columns: [input, ...columns], image }
}

/** The units of the largest magnitude, and those wanted. */
function pick(values: ArrayLike<number>, wanted: number[]): number[] {
  const ranked = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!))
  const picked = ranked.filter((u) => !wanted.includes(u)).slice(0, Math.max(0, strongest - wanted.length))
  return [...wanted.slice(0, strongest), ...picked].sort((a, b) => a - b)
}

export const tileTop = (c: Column, at: number): number => c.top + at * pitch

export interface Edge {
  layer: number // that it leads into
  from: number
  to: number
  x1: number
  y1: number
  x2: number
  y2: number
  value: number | null // null: it only says where a number goes
  share: number // of the largest magnitude in its layer
}

/** Where an edge of a unit begins or ends: at its tile, else at its cell of the grid. */
function port(c: Column, unit: number, side: 'left' | 'right'): [number, number] {
  const at = c.shown.indexOf(unit)
  const x = side === 'left' ? c.x : c.x + c.width
  if (at >= 0 || !c.grid) return [x, tileTop(c, Math.max(at, 0)) + tileHeight / 2]
  const { columns, cell, top } = c.grid
  return [c.x + ((unit % columns) + 0.5) * cell, top + (Math.floor(unit / columns) + 0.5) * cell]
}

function join(p: Picture, layer: number, from: number, to: number, value: number | null, share: number): Edge {
  const [x1, y1] = port(p.columns[layer - 1]!, from, 'right')
  const [x2, y2] = port(p.columns[layer]!, to, 'left')
  return { layer, from, to, x1, y1, x2, y2, value, share }
}

/** What a phase shows of a parameter. */
export function numbers(p: Param, phase: Phase): number[] {
  if (phase === 'forward') return p.before
  if (phase === 'backward') return p.gradient
  return p.after.map((v, i) => v - p.before[i]!)
}

/** Edges into each layer but the first: of dense layers as far as their weights are here, else from unit to unit. */
export function edgesOf(p: Picture, seen: Seen, params: Record<string, Param>, step: Step): Edge[] {
  return [...seen.layers.slice(1), { layer: seen.layers.length + 1, kind: 'softmax', params: [] }].flatMap((l): Edge[] => {
    const from = p.columns[l.layer - 1]!
    const to = p.columns[l.layer]!
    if (l.kind !== 'dense') return to.shown.filter((u) => from.shown.includes(u)).map((u) => join(p, l.layer, u, u, null, 1))
    const weight = params[`${l.layer}.dense.weight`]
    if (!weight) return []
    const phase = reached(step, l.layer) ? step.phase : 'forward'
    const values = numbers(weight, phase)
    const most = largest(values)
    return to.shown.flatMap((j) =>
      from.shown.map((i) => {
        const value = values[i * to.units + j]!
        return join(p, l.layer, i, j, value, most > 0 ? Math.abs(value) / most : 0)
      }),
    )
  })
}

/** Edges of one unit that are known by their contributions alone. */
export function edgesBy(p: Picture, known: { layer: number; from: number; to: number; value: number }[]): Edge[] {
  const most = largest(known.map((e) => e.value))
  return known.map((e) => join(p, e.layer, e.from, e.to, e.value, most > 0 ? Math.abs(e.value) / most : 0))
}

/** Whether a phase has come to a layer. */
export function reached(step: Step, layer: number): boolean {
  return step.phase === 'backward' ? layer >= step.layer : layer <= step.layer
}

/** Where the images of the first layer's weights stand, one left of each tile. */
export function thumbnails(p: Picture): { unit: number; x: number; y: number; side: number }[] {
  const c = p.columns[1]!
  return c.grid ? [] : c.shown.map((unit, i) => ({ unit, x: c.x - thumbnail - 3, y: tileTop(c, i) + (tileHeight - thumbnail) / 2, side: thumbnail }))
}
