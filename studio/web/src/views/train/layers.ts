// The layers that settings describe, as the Go package experiment makes them.
import type { LayerInfo, Settings } from '../../lib/api.ts'

type Described = Pick<Settings, 'hidden' | 'activation' | 'normalisation' | 'place'>

const norms: Record<string, string> = { batch: 'batch_norm', 'published-per-example': 'published_per_example_norm' }

/** The layers of one hidden layer: dense, its activation, and a normalisation before or after that. */
export function hiddenLayers(s: Described, units: number, before: number): LayerInfo[] {
  const norm = norms[s.normalisation]
  const batchBefore = s.normalisation === 'batch' && s.place === 'before' // subtracts any bias, so there is none
  const layers: LayerInfo[] = [
    { kind: 'dense', in: before, out: units, parameters: before * units + (batchBefore ? 0 : units) },
    { kind: s.activation, in: units, out: units, parameters: 0 },
  ]
  if (norm) layers.splice(s.place === 'before' ? 1 : 2, 0, { kind: norm, in: units, out: units, parameters: norm === 'batch_norm' ? 2 * units : 0 })
  return layers
}

export const outputLayer = (before: number, classes: number): LayerInfo => ({
  kind: 'dense',
  in: before,
  out: classes,
  parameters: (before + 1) * classes,
})

export function layersOf(s: Described, features: number, classes: number): LayerInfo[] {
  const widths = [features, ...s.hidden]
  return [...s.hidden.flatMap((units, i) => hiddenLayers(s, units, widths[i]!)), outputLayer(widths.at(-1)!, classes)]
}

export const parameters = (layers: LayerInfo[]): number => layers.reduce((sum, l) => sum + l.parameters, 0)

/** 784-20-7-5-10, as one says it. */
export const widths = (hidden: number[], features: number, classes: number): string => [features, ...hidden, classes].join('-')
