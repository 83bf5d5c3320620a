// What the server's interface under /api/ takes and gives. Names and units are those of
// the Go package studio, which decides.

/** A training's settings: the same words as in a study file. */
export interface Settings {
  dataset: string
  precision: 'float32' | 'float64'
  seed: number
  hidden: number[]
  activation: string
  normalisation: string
  place: string
  init: string
  loss: string
  l2: number
  l2_form: string
  rule: string
  learning_rate: number
  batch: number
  epochs: number
  validation: number
  shuffle: boolean
  look_every: number
  stop: string
  patience: number
  min_improvement: number
  criterion: number
  random: string
}

export type Phase = 'idle' | 'running' | 'paused' | 'done' | 'diverged' | 'failed'

export interface LayerInfo {
  kind: string // dense, relu, sigmoid, tanh, batch_norm, published_per_example_norm
  in: number
  out: number
  parameters: number
}

export interface State {
  training: number // counts trainings; 0: none was chosen yet
  phase: Phase
  message?: string
  dataset: string
  datasets: string[] // that can be chosen
  fallback?: boolean // the data set stands in for MNIST, which could not be had
  settings: Settings
  layers: LayerInfo[]
  classes: number
  width: number // of an image, pixels
  height: number
  examples: [number, number, number] // training, validation, test
  branch: number
  epoch: number // begun
  step: number
  steps_per_epoch: number
  last_step: number // after which the training is done
  learning_rate: number
  steps_per_second: number
}

/** A point of the curves: means over the examples since the point before. */
export interface Point {
  branch: number
  step: number
  train_cost: number
  train_accuracy: number
  val_cost: number | null // at the end of an epoch
  val_accuracy: number | null
  learning_rate: number
  epoch: number // begun
  ends: boolean // whether it ends that epoch
}

export interface Snapshot {
  id: number
  branch: number
  step: number
  epoch: number // begun
  ends: boolean // whether none of that epoch is left; so before the first, too
}

/** A branch of a training and where it leaves its parent; branch 0 has parent -1. */
export interface Branch {
  branch: number
  parent: number
  step: number
  settings: Settings
  change: string // in words: "learning rate 0.1", "another order of the examples", "nothing changed"
}

export interface Everything {
  state: State
  points: Point[]
  snapshots: Snapshot[]
  branches: Branch[]
}

/** Where to look: the id of a snapshot, or -1 for the training as it is now. */
export type At = number

export interface Histogram {
  lo: number
  hi: number
  counts: number[]
}

export interface LayerLook {
  layer: number // from 1
  kind: string
  units: number
  output: Histogram // activations over the batch
  gradient: Histogram // dTotal/dOutput over the batch
  gradient_norm: number // of the layer's parameters; 0 without any
  weights: Histogram | null // of a dense layer
  update_over_weight: number | null
  dead: number
  saturated: number
}

export interface Finding {
  layer: number
  what: string
  cause: string
  remedy: string
}

/** How the network fares on a fixed batch of training examples. */
export interface Look {
  training: number
  branch: number
  step: number
  examples: number
  cost: number
  penalty: number
  accuracy: number
  /** Weights of the first layer as images, one a unit: signed bytes, 127 is `largest`. */
  first: { units: number[]; of: number; width: number; height: number; largest: number; weights: string /* base64 */ } | null
  layers: LayerLook[]
  findings: Finding[]
}

export interface ParamOverview {
  name: string // 1.dense.weight
  shape: number[] // a dense weight is [in, out]
}

export interface LayerSeen {
  layer: number
  kind: string
  law: string
  output: number[]
  gradient: number[]
  kept?: Record<string, number[]> // mean, variance, inverse_std, x_hat
  params?: ParamOverview[]
  update_over_weight?: number
}

/** A recorded training step, seen from the example in row 0. */
export interface Seen {
  id: number // by which more of it is opened
  step: number // of the training, before this step
  rows: number // examples in the batch
  example: number // in its set; 0 of a drawn one
  label: number
  predicted: number
  probabilities: number[]
  loss: number
  cost: number
  penalty: number
  cost_after: number
  penalty_after: number
  rule: string
  learning_rate: number
  layers: LayerSeen[]
  findings: Finding[]
  pixels: string // base64, one byte each
}

export type Convention = 'rows' | 'columns'

/** One number with its formula. */
export interface Opened {
  ref: string
  what: string
  value: number
  law: string // "z[i, j] = Σ_p x[i, p]·W[p, j] + b[j]"
  formula: string // the law with its numbers put in
  zeros?: number // terms that it leaves out because their pixel is 0
  contributions: { term: string; value: number; of: string[] }[] // the largest first
  to: string[] // refs of what it goes into
}

/** A finite-difference check of a gradient. */
export interface Check {
  ref: string
  kind: string
  analytic: number
  numeric: number
  relative_difference: number
  kink: boolean
  off: boolean
}

/** A parameter's numbers around the step: all of it, or those of one unit. */
export interface Param {
  name: string
  shape: number[]
  unit: number | null
  before: number[]
  gradient: number[]
  after: number[]
}

export interface Nearest {
  example: number // of the training set
  label: number
  distance: number // Euclidean, of intensities in [0, 1]
}

export interface Stage {
  what: string // a sentence
  width: number
  height: number
  png: string // base64
}

export interface Prediction {
  stages: Stage[]
  pixels: string // as the network gets them
  predicted: number
  probabilities: number[]
  logits: number[]
  entropy: number // nats
  nearest: Nearest[]
  distance: number // to the nearest training example
  /** Distances of test examples to their nearest training example; null until known. */
  typical: { of: number; median: number; p95: number; p99: number } | null
  far: boolean // farther than 99 % of the `of` test examples that were measured
  doubt: string // a sentence; "" without doubt
}

export interface Saliency {
  class: number
  gradient: number[]
  gradient_times_input: number[]
  occlusion: number[]
  patch: number
  leaves_out: boolean // the gradient lacks the derivative of the published normalisation
}

export interface Mistakes {
  step: number
  examples: number
  cost: number | null // when it is not finite
  accuracy: number | null
  confusion: number[][] // [label][predicted]
  total: number // examples in the cell, or mistakes, or all
  shown: { example: number; label: number; predicted: number; confidence: number }[] // at most 240
}

export interface Activating {
  example: number // of the test set
  label: number
  value: number
}

export interface StudyInfo {
  name: string
  title: string
  question: string
  experiments: string[]
  seeds: number[]
  text: string // its TOML
}

export interface RunProgress {
  run: string // exp1-seed42
  epoch: number
  max_epochs: number
  step: number
  cost: number
  accuracy: number
  done: boolean
  stopped: string
}

export interface StudyState {
  study: number // counts studies run here; 0: none yet
  phase: 'none' | 'running' | 'stopping' | 'done' | 'stopped' | 'failed'
  name: string
  title: string
  message: string
  folder: string // where its results lie
  runs: RunProgress[]
}

export interface Summary {
  mean: number | null
  sd: number | null
  ci95: [number | null, number | null]
  n: number
}

/** results.json of a study: what the page uses of it. */
export interface Results {
  study: string
  title: string
  question: string
  dataset: { name: string; fallback: boolean }
  seconds: number
  seeds: number[]
  primary_metric: string
  notes?: string[]
  shortened_to?: number // epochs after which runs were cut short
  experiments: {
    name: string
    normalisation: string
    l2: number
    config: Omit<Settings, 'dataset' | 'precision' | 'seed'>
    runs: {
      seed: number
      epochs: number
      steps: number
      train_accuracy: number | null
      val_accuracy: number | null
      test_accuracy: number | null
      train_cost: number | null
      val_cost: number | null
      test_cost: number | null
      penalty: number | null
      seconds: number | null
      sum_of_weights: number | null
      stopped: string
      dir: string
    }[]
    summary: Record<string, Summary>
  }[]
  comparisons?: {
    metric: string
    a: string
    b: string
    difference: number | null
    ci95: [number | null, number | null]
    n: number
    p: number | null
    p_holm: number | null
    primary: boolean
    finding: string
  }[]
  published?: { experiment: string; figures: { column: string; published: string; ours: string; equal: boolean }[]; seconds: number; all_equal: boolean }[]
  interrupted?: boolean
}

export interface GradientCheck {
  parameter: string
  analytic: number | null
  numeric: number | null
}

export interface Evidence {
  layer: string
  checks: GradientCheck[]
  worst_relative: number | null
  failed: number
  twin: string
  twin_checks: GradientCheck[]
  twin_worst_relative: number | null
  twin_failed: number
  tolerance: string
}

/** One row of a run's history.csv, the columns that the page draws. */
export interface History {
  run: string
  epoch: number[]
  step: number[]
  train_cost: (number | null)[]
  val_cost: (number | null)[]
  val_accuracy: (number | null)[]
  sum_of_weights: (number | null)[]
}

export interface StudyResults {
  results: Results
  histories: History[]
  evidence: Record<string, Evidence> // by run
}

/** A study whose results lie in the studio's folder of studies, from whichever session. */
export interface Finished {
  folder: string
  study: string
  title: string
  dataset: string
  started: string
  seconds: number // that it took: a quick look is told from the whole
  report: boolean // whether there is one
}

/** What went wrong, with what to do next. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint: string,
  ) {
    super(message)
  }
}

/** How often a request is made of a studio that is busy. */
const mostAsked = 3

async function call<T>(path: string, init?: RequestInit): Promise<T> {
  let response: Response
  for (let asked = 1; ; asked++) {
    try {
      response = await fetch(`/api/${path}`, init)
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') throw e
      throw new ApiError(0, 'glassnet studio does not answer', 'Is it still running?')
    }
    // A studio that computes for others says when to ask again.
    const seconds = Number(response.headers.get('Retry-After'))
    if (response.status !== 503 || !seconds || asked === mostAsked) break
    await new Promise((r) => setTimeout(r, 1000 * seconds))
    init?.signal?.throwIfAborted()
  }
  const body: unknown = await response.json().catch(() => null)
  if (response.ok) return body as T
  const { error, try: hint } = (body ?? {}) as { error?: string; try?: string }
  throw new ApiError(response.status, error ?? `the server answered ${response.status}`, hint ?? '')
}

function post<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
  return call<T>(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal: signal ?? null })
}

export const api = {
  everything: () => call<Everything>('state'),
  configure: (settings: Partial<Settings>) => post<State>('configure', settings),
  /** Refuses what configure would, and changes nothing. */
  possible: (settings: Partial<Settings>) => post<object>('possible', settings),
  control: (action: 'start' | 'pause' | 'batch' | 'epoch' | 'stop') => post<State>('control', { action }),
  rate: (learning_rate: number) => post<State>('rate', { learning_rate }),
  /**
   * Goes back to a snapshot; what is done from there is a branch of its own, with the settings
   * of the snapshot's branch but for those given: learning_rate, l2, batch, epochs, or seed,
   * which orders the examples anew from there on.
   */
  branch: (snapshot: number, settings: Partial<Settings>) => post<State>('branch', { snapshot, settings }),
  look: (at: At, signal?: AbortSignal) => post<Look>('look', { at }, signal),
  /**
   * An example of a set and those after it; or pixels (base64) with a label, row 0; or with
   * set next the batch that the training takes next, at most `batch` examples of it.
   */
  see: (what: { at: At; set: 'train' | 'test' | 'next'; example: number; batch: number; pixels?: string; label?: number }, signal?: AbortSignal) =>
    post<Seen>('see', what, signal),
  open: (id: number, ref: string, convention: Convention, full: boolean) => post<Opened>('open', { id, ref, convention, full }),
  check: (id: number, ref: string) => post<Check>('check', { id, ref, convention: 'rows' }),
  param: (id: number, name: string, unit: number | null) => post<Param>('param', { id, name, unit }),
  /** A drawing as a PNG, or the pixels as the network gets them; base64. */
  predict: (what: { at: At; png?: string; pixels?: string }, signal?: AbortSignal) => post<Prediction>('predict', what, signal),
  saliency: (at: At, pixels: string, classIndex: number, signal?: AbortSignal) => post<Saliency>('saliency', { at, pixels, class: classIndex }, signal),
  /** label and predicted choose a cell of the confusion matrix; null is any. */
  mistakes: (what: { at: At; label: number | null; predicted: number | null; mistaken: boolean; order: 'most' | 'least' }) => post<Mistakes>('mistakes', what),
  images: (set: 'train' | 'test', examples: number[]) => post<{ width: number; height: number; labels: number[]; pixels: string }>('images', { set, examples }),
  /** The test images for which a unit's output is largest. */
  activating: (at: At, layer: number, unit: number) => post<Activating[]>('activating', { at, layer, unit }),
  studies: () => call<StudyInfo[]>('studies'),
  study: () => call<StudyState>('study'),
  startStudy: (what: { name?: string; text?: string; epochs?: number }) => post<StudyState>('study', what),
  stopStudy: () => post<StudyState>('study/stop', {}),
  /** The latest first. */
  finished: () => call<Finished[]>('finished'),
  /** Of the study in a folder of those finished, or of the one that was finished last. */
  studyResults: (folder?: string) => call<StudyResults>(folder === undefined ? 'study/results' : `study/results?folder=${encodeURIComponent(folder)}`),
}
