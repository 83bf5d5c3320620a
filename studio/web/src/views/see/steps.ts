// The steps in which a digit goes through the network: forward, backward, update.
import type { LayerSeen, Seen } from '../../lib/api.ts'
import { layerName, number } from '../../lib/show.ts'

export type Phase = 'forward' | 'backward' | 'update'
export const phases: Phase[] = ['forward', 'backward', 'update']

export interface Step {
  phase: Phase
  layer: number // 0: the input; one more than there are layers: probabilities and costs
  title: string
  what: string
  law: string | null // the ref whose law says what happens
}

export function stepsOf(seen: Seen): Step[] {
  const { layers } = seen
  const end = layers.length + 1
  const name = (l: LayerSeen): string => `Layer ${l.layer}, ${layerName(l.kind)}`
  const inputs = (l: LayerSeen): number => layers[l.layer - 2]?.output.length ?? atobLength(seen.pixels)
  const forward: Step[] = [
    { phase: 'forward', layer: 0, title: 'The digit', what: `${atobLength(seen.pixels)} pixels go in, each a number from 0 to 1.`, law: null },
    ...layers.map((l) => ({
      phase: 'forward' as const,
      layer: l.layer,
      title: name(l),
      what: forwards(l.kind, inputs(l), l.output.length, hasBias(l)),
      law: `${l.layer}:0`,
    })),
    {
      phase: 'forward',
      layer: end,
      title: 'Probabilities and loss',
      what: `Softmax makes ${seen.probabilities.length} probabilities of the logits. The label is ${seen.label}: the loss is ${number(seen.loss)}.`,
      law: 'p:0',
    },
  ]
  const backward = layers.toReversed().map((l): Step => {
    const next = layers[l.layer]
    return { phase: 'backward', layer: l.layer, title: name(l), what: backwards(next, l), law: `grad(${l.layer}:0)` }
  })
  const update = layers.flatMap((l): Step[] => {
    const first = l.params?.[0]
    if (!first) return []
    return [{ phase: 'update', layer: l.layer, title: name(l), what: updates(l, seen), law: `after(${first.name}:${first.shape.map(() => 0).join()})` }]
  })
  const done: Step = {
    phase: 'update',
    layer: end,
    title: 'The same batch again',
    what: `With the new parameters its cost is ${number(seen.cost_after)}; it was ${number(seen.cost)}.`,
    law: null,
  }
  return [...forward, ...backward, ...update, done]
}

const atobLength = (base64: string): number => (base64.length / 4) * 3 - (base64.match(/=*$/)?.[0].length ?? 0)

/** Whether a layer adds biases: one before batch normalisation does not. */
export const hasBias = (layer: LayerSeen | undefined): boolean => layer?.params?.some((p) => p.name.endsWith('.bias')) ?? false

function forwards(kind: string, inputs: number, units: number, biased: boolean): string {
  switch (kind) {
    case 'dense':
      return `Each of ${units} units multiplies the ${inputs} numbers before it by its weights${biased ? ', adds them up and adds its bias' : ' and adds them up'}.`
    case 'relu':
      return 'What is above 0 passes as it is; the rest becomes 0.'
    case 'sigmoid':
      return 'Each number is squeezed between 0 and 1.'
    case 'tanh':
      return 'Each number is squeezed between −1 and 1.'
    case 'batch_norm':
      return 'Each unit is brought to mean 0 and variance 1 over the batch, then scaled by its gamma and moved by its beta.'
    default:
      return 'The numbers of each example are brought to mean 0 and variance 1 over the units of the layer, as published.'
  }
}

function backwards(next: LayerSeen | undefined, layer: LayerSeen): string {
  const parts = layer.params?.length ? ' From it come the gradients of the parameters of this layer.' : ''
  if (!next) return `The gradient begins here: the probability, less 1 for the label, divided by the size of the batch.${parts}`
  switch (next.kind) {
    case 'dense':
      return `Back through the weights of layer ${next.layer}: each unit adds up the gradients of the units it goes to, times the weights.${parts}`
    case 'batch_norm':
      return `Back through the normalisation: directly, through the mean and through the variance of the batch.${parts}`
    case 'published_per_example_norm':
      return `The gradient passes unchanged, as published: the normalisation's derivative is left out.${parts}`
    default:
      return `Back through ${layerName(next.kind)}: the gradient is multiplied by its slope.${parts}`
  }
}

function updates(layer: LayerSeen, seen: Seen): string {
  const ratio = layer.update_over_weight ? ` It moves the weights by ${number(100 * layer.update_over_weight, 2)} % of their length.` : ''
  if (layer.kind === 'dense') return `Each weight${hasBias(layer) ? ' and each bias' : ''} moves against its gradient, ${number(seen.learning_rate)} times as far.${ratio}`
  return 'Gamma and beta move against their gradients. The running mean and variance move towards those of this batch.'
}
