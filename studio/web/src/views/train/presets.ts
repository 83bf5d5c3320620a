// Settings worth trying, each with what it teaches. The tests run them all.
import type { Settings } from '../../lib/api.ts'

export interface Preset {
  name: string
  teaches: string
  /** Whether the network learns under it; the others go wrong on purpose. */
  learns: boolean
  settings: Partial<Settings>
}

const six = [32, 32, 32, 32, 32, 32]

/** What a preset does not set: the settings that a training begins with. */
export const plain: Omit<Settings, 'dataset' | 'precision' | 'seed'> = {
  hidden: [20, 7, 5],
  activation: 'relu',
  normalisation: 'none',
  place: 'before',
  init: 'he-normal',
  loss: 'cross_entropy',
  l2: 0,
  l2_form: 'l2',
  rule: 'sgd',
  learning_rate: 0.009,
  batch: 128,
  epochs: 20,
  validation: 0.2,
  shuffle: true,
  look_every: 0,
  stop: 'none',
  patience: 20,
  min_improvement: 0,
  criterion: 1e-5,
  random: 'streams',
}

export const presets: Preset[] = [
  {
    name: 'The published study’s network',
    teaches: 'Narrow layers and a low rate: it learns, but slowly. After 20 epochs the cost is still falling.',
    learns: true,
    settings: { hidden: [20, 7, 5], learning_rate: 0.009, epochs: 20 },
  },
  {
    name: 'A good start',
    teaches: 'Wider layers and ten times the rate: more right after two epochs than the network above after twenty.',
    learns: true,
    settings: { hidden: [128, 64], learning_rate: 0.1, epochs: 10 },
  },
  {
    name: 'No hidden layer',
    teaches: 'Softmax regression. Its ten units are ten templates, one a class: see them in the images of the weights.',
    learns: true,
    settings: { hidden: [], learning_rate: 0.1, epochs: 10 },
  },
  {
    name: 'Rate far too large',
    teaches: 'The first steps throw the weights so far that nearly all ReLUs are 0 for every example. What is left is guessing.',
    learns: false,
    settings: { hidden: [128, 64], learning_rate: 3, epochs: 5 },
  },
  {
    name: 'Rate far too small',
    teaches: 'Each step goes the right way and hardly moves: look at update over weight, about a millionth.',
    learns: false,
    settings: { hidden: [128, 64], learning_rate: 1e-5, epochs: 5 },
  },
  {
    name: 'Sigmoid, six layers deep',
    teaches: 'The gradient vanishes: on its way back to the first layer it falls to less than a thousandth, and nothing is learned.',
    learns: false,
    settings: { hidden: six, activation: 'sigmoid', init: 'glorot-normal', learning_rate: 0.1, epochs: 5 },
  },
  {
    name: 'Batch norm to the rescue',
    teaches: 'The same six layers of sigmoid with batch norm before each: the gradient arrives, and the network learns.',
    learns: true,
    settings: { hidden: six, activation: 'sigmoid', init: 'glorot-normal', normalisation: 'batch', learning_rate: 0.1, epochs: 5 },
  },
  {
    name: 'L2 penalty far too strong',
    teaches: 'Keeping the weights small counts for more than being right: they shrink to nothing, and every class becomes equally likely.',
    learns: false,
    settings: { hidden: [128, 64], l2: 0.3, learning_rate: 0.1, epochs: 5 },
  },
  {
    name: 'All weights 0 at first',
    teaches: 'All units of a layer are alike and stay alike. With ReLU not even a gradient arrives: only the last biases learn.',
    learns: false,
    settings: { hidden: [128, 64], init: 'zeros', learning_rate: 0.1, epochs: 5 },
  },
]

/** The settings of a preset; the data, its numbers and the seed stay as they are. */
export const settingsOf = (preset: Preset, now: Settings): Settings => ({ ...now, ...plain, ...preset.settings })

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)

/** Whether the settings are those of the preset. */
export const isPreset = (preset: Preset, now: Settings): boolean => {
  const wanted = settingsOf(preset, now)
  return (Object.keys(wanted) as (keyof Settings)[]).every((key) => same(wanted[key], now[key]))
}
