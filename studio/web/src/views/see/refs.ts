// Refs name the numbers of a step: "2:5", "grad(1.dense.weight:345,4)", "loss"; see
// explain/ref.go, which decides. Here they are read to say in words what they name and to
// find what is near.
import type { Seen } from '../../lib/api.ts'

export type Aspect = 'value' | 'gradient' | 'after'

export interface Ref {
  aspect: Aspect
  kind: 'output' | 'pixel' | 'probability' | 'array' | 'whole' // array: a parameter, or what a layer keeps
  name: string // "1.dense.weight", "loss"; of an output its layer
  layer: number
  index: number[]
  row: number // of the batch
}

export function parseRef(text: string): Ref | null {
  const found = /^(?:(grad|after)\()?([\w.]+)(?::(\d+)(?:,(\d+))?)?(?:@(\d+))?\)?$/.exec(text.trim())
  if (!found) return null
  const [, wrapped, name, first, second, row] = found as unknown as [string, string | undefined, string, ...(string | undefined)[]]
  const index = [first, second].filter((x) => x !== undefined).map(Number)
  const layer = /^\d+/.test(name) ? parseInt(name, 10) : 0
  const kind = index.length === 0 ? 'whole' : name === 'x' ? 'pixel' : name === 'p' ? 'probability' : name.includes('.') ? 'array' : 'output'
  if (kind === 'output' && !layer) return null
  return { aspect: wrapped === 'grad' ? 'gradient' : wrapped === 'after' ? 'after' : 'value', kind, name, layer, index, row: Number(row ?? 0) }
}

export function refText(r: Ref): string {
  const text = r.name + (r.index.length ? `:${r.index.join(',')}` : '') + (r.row ? `@${r.row}` : '')
  return r.aspect === 'gradient' ? `grad(${text})` : r.aspect === 'after' ? `after(${text})` : text
}

export const withAspect = (r: Ref, aspect: Aspect): string => refText({ ...r, aspect })

/** The last part of an array's name: weight, x_hat. */
export const part = (r: Ref): string => r.name.slice(r.name.lastIndexOf('.') + 1)

const symbols: Record<string, string> = { x_hat: 'x̂', inverse_std: '1/σ', running_mean: 'running mean', running_variance: 'running variance' }

/** A few words that name it in a list: "weight 13 → 4 of layer 2". */
export function describe(text: string): string {
  const r = parseRef(text)
  if (!r) return text
  const words = { value: '', gradient: 'gradient of ', after: 'after the update: ' }[r.aspect]
  return words + noun(r) + (r.row ? `, row ${r.row}` : '')
}

function noun(r: Ref): string {
  const [i, j] = r.index
  switch (r.kind) {
    case 'whole':
      return r.name
    case 'pixel':
      return `pixel ${i}`
    case 'probability':
      return `p of ${i}`
    case 'output':
      return `unit ${i}, layer ${r.layer}`
    case 'array':
      return j === undefined ? `${symbols[part(r)] ?? part(r)} ${i}, layer ${r.layer}` : `weight ${i} → ${j}, layer ${r.layer}`
  }
}

/** The unit or the edge that a ref is about, to be marked in the picture. */
export interface Place {
  layer: number
  unit: number
  from: number | null // of an edge: the unit of the layer before
}

export function placeOf(text: string, layers: number): Place | null {
  const r = parseRef(text)
  if (!r) return null
  const [i, j] = r.index
  switch (r.kind) {
    case 'pixel':
      return { layer: 0, unit: i!, from: null }
    case 'probability':
      return { layer: layers + 1, unit: i!, from: null }
    case 'output':
      return { layer: r.layer, unit: i!, from: null }
    case 'array':
      return { layer: r.layer, unit: j ?? i!, from: j === undefined ? null : i! }
    case 'whole':
      return null
  }
}

export interface Near {
  name: string
  ref: string
}

const trained = (r: Ref): boolean => r.kind === 'array' && /^(weight|bias|gamma|beta)$/.test(part(r))
const running = (r: Ref): boolean => r.kind === 'array' && part(r).startsWith('running_')

/** The other numbers about the same quantity: before, its gradient, after. */
export function aspects(text: string): Near[] {
  const r = parseRef(text)
  if (!r) return []
  const near = (name: string, aspect: Aspect): Near => ({ name, ref: withAspect(r, aspect) })
  if (trained(r)) return [near('before', 'value'), near('gradient', 'gradient'), near('after', 'after')]
  if (running(r)) return [near('before', 'value'), near('after', 'after')]
  if (r.kind === 'output') return [near('value', 'value'), near('gradient', 'gradient')]
  return []
}

/** What a finite difference can check: the gradient of a parameter or of an output. */
export const checkable = (text: string): boolean => {
  const r = parseRef(text)
  return r !== null && (r.kind === 'output' || trained(r))
}

/** The other numbers of a unit: its bias, or the parts of its normalisation. */
export function partsOf(place: Place, seen: Seen): Near[] {
  const layer = seen.layers[place.layer - 1]
  if (!layer) return []
  const prefix = `${layer.layer}.${layer.kind}`
  const kept = Object.entries(layer.kept ?? {}).map(([name, values]) => ({
    name: symbols[name] ?? name,
    ref: `${prefix}.${name}:${values.length === 1 ? 0 : place.unit}`,
  }))
  const params = (layer.params ?? [])
    .filter((p) => p.shape.length === 1)
    .map((p) => ({ name: symbols[p.name.slice(prefix.length + 1)] ?? p.name.slice(prefix.length + 1), ref: `${p.name}:${place.unit}` }))
  return [{ name: 'output', ref: `${layer.layer}:${place.unit}` }, ...kept, ...params]
}
