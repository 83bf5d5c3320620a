// The six lessons: their texts (docs/learn), their tasks, and how far the person is.
import { untrack } from 'svelte'
import type { Point, Settings, State } from './api.ts'
import { pathTo } from './branches.ts'
import { onDeed, type Deed } from './deeds.ts'
import type { View } from './route.svelte.ts'
import { training } from './training.svelte.ts'

/** What a task's step is judged by. */
export interface Moment {
  deed: Deed | null // what was just done, if anything
  state: State
  points: Point[] // of the branch that trains
  path: Point[] // the same, and before them those that led to it
  grown: boolean // the training has made steps since the lesson began
}

export interface Step {
  text: string
  done: (m: Moment) => boolean
}

/** A place to go to for the task, with the settings that it needs. */
export interface Way {
  name: string
  view: View
  args?: (string | number)[]
  settings?: Partial<Settings>
}

export interface Lesson {
  id: string
  title: string
  html: string
  task: string
  steps: Step[]
  ways: Way[]
}

const texts = import.meta.glob<string>('../../../../docs/learn/*.md', { eager: true, import: 'default' })

const small: Partial<Settings> = { hidden: [20, 7, 5], learning_rate: 0.1, epochs: 3, seed: 1 }
const overfit: Partial<Settings> = { hidden: [64], learning_rate: 0.1, batch: 32, epochs: 60, validation: 0.9, seed: 1 }
const deep: Partial<Settings> = { hidden: [30, 30, 30, 30, 30], activation: 'sigmoid', learning_rate: 0.1, epochs: 3, seed: 1 }

const opened = (m: Moment): string => (m.deed?.what === 'opened' ? m.deed.opened.ref.replace(/@\d+/, '') : '')
const value = (m: Moment): number => (m.deed?.what === 'opened' ? m.deed.opened.value : NaN)
/** The kind of the layer whose output was opened: of a ref like 2:5. */
const openedKind = (m: Moment): string => m.state.layers[Number(/^(\d+):\d+$/.exec(opened(m))?.[1]) - 1]?.kind ?? ''
const looks = (m: Moment): number[] => m.points.flatMap((p) => p.val_cost ?? [])
/** How many epochs are over. */
const ended = ({ state, points }: Moment): number => {
  const last = points.at(-1)
  return last?.ends && last.epoch === state.epoch ? state.epoch : Math.max(0, state.epoch - 1)
}
/** The points of the epoch that ended last, the last of them with its look. */
const lastEpoch = ({ path: points }: Moment): Point[] => {
  const end = points.findLastIndex((p) => p.ends)
  return points.slice(0, end + 1).filter((p) => p.epoch === points[end]?.epoch)
}
/** The validation cost after an epoch all of whose steps had a rate that fits; NaN when it had not. */
const costAt = (m: Moment, fits: (rate: number) => boolean): number => {
  const epoch = lastEpoch(m)
  return epoch.every((p) => fits(p.learning_rate)) ? (epoch.at(-1)?.val_cost ?? NaN) : NaN
}
const guessing = (m: Moment): number => Math.log(m.state.classes)

const tasks: Omit<Lesson, 'id' | 'title' | 'html'>[] = [
  {
    task: 'Open units of a network in See through. It need not be trained for that.',
    steps: [
      { text: 'Open the weighted sum of a unit (dense)', done: (m) => openedKind(m) === 'dense' },
      { text: 'Find a unit that speaks (ReLU above 0)', done: (m) => openedKind(m) === 'relu' && value(m) > 0 },
      { text: 'Find a silent one (ReLU is 0)', done: (m) => openedKind(m) === 'relu' && value(m) === 0 },
    ],
    ways: [
      { name: 'Set up a small network', view: 'see', args: ['test', 0], settings: small },
      { name: 'Open See through', view: 'see', args: ['test', 0] },
    ],
  },
  {
    task: 'See how probabilities become a cost, before training and after.',
    steps: [
      { text: 'Open the probability of a class', done: (m) => /^p:\d+$/.test(opened(m)) },
      { text: 'Open the loss of the example', done: (m) => opened(m) === 'loss' },
      { text: 'Train an epoch, then open a loss below that of guessing', done: (m) => ended(m) >= 1 && opened(m) === 'loss' && value(m) < guessing(m) },
    ],
    ways: [
      { name: 'Set up a small network', view: 'see', args: ['test', 0], settings: small },
      { name: 'Open See through', view: 'see', args: ['test', 0] },
    ],
  },
  {
    task: 'Make one step by hand and look into it.',
    steps: [
      { text: 'Train one batch', done: (m) => m.grown },
      { text: 'Open the gradient of a weight', done: (m) => /^grad\(.*\.weight:/.test(opened(m)) },
      { text: 'Check a gradient, and find it right', done: (m) => m.deed?.what === 'checked' && !m.deed.check.off && !m.deed.check.kink },
      { text: 'Open a weight after the update', done: (m) => /^after\(.*\.weight:/.test(opened(m)) },
    ],
    ways: [
      { name: 'Set up a small network', view: 'see', args: ['test', 0], settings: small },
      { name: 'Open See through', view: 'see', args: ['test', 0] },
    ],
  },
  {
    task: 'Train the same network with three rates. Change the rate under Train, or branch off under Time machine.',
    steps: [
      {
        text: 'Too small: an epoch at 0.001 or less, cost still near guessing',
        done: (m) => m.grown && costAt(m, (rate) => rate <= 0.001) > 0.8 * guessing(m),
      },
      { text: 'Good: 90 % validation accuracy within three epochs', done: (m) => m.grown && m.state.epoch <= 3 && (m.points.at(-1)?.val_accuracy ?? 0) >= 0.9 },
      {
        text: 'Too large: an epoch at 1 or more, no better than guessing',
        done: (m) => m.grown && ((m.state.phase === 'diverged' && m.state.learning_rate >= 1) || costAt(m, (rate) => rate >= 1) >= guessing(m)),
      },
    ],
    ways: [
      { name: 'Set up with 0.0005', view: 'train', settings: { ...small, learning_rate: 0.0005 } },
      { name: 'Set up with 0.1', view: 'train', settings: { ...small, learning_rate: 0.1 } },
      { name: 'Set up with 10', view: 'train', settings: { ...small, learning_rate: 10 } },
    ],
  },
  {
    task: 'Train on few examples until the two curves part; then again with a penalty. Most of the training examples are set aside here: the few that are left are soon learned by heart.',
    steps: [
      {
        text: 'No penalty: validation cost past its lowest, training cost below a quarter of the validation cost',
        done: (m) => {
          const costs = looks(m)
          const last = costs.at(-1) ?? 0
          return m.grown && m.state.settings.l2 === 0 && last > 1.03 * Math.min(...costs) && m.points.at(-1)!.train_cost < last / 4
        },
      },
      { text: 'Thirty epochs with λ of 0.001 or more', done: (m) => m.grown && m.state.settings.l2 >= 0.001 && looks(m).length >= 30 },
      { text: 'Open the penalty', done: (m) => opened(m) === 'penalty' && value(m) > 0 },
    ],
    ways: [
      { name: 'Set up without a penalty', view: 'train', settings: overfit },
      { name: 'Set up with λ = 0.001', view: 'train', settings: { ...overfit, l2: 0.001 } },
      { name: 'Open See through', view: 'see', args: ['test', 0] },
    ],
  },
  {
    task: 'Train a deep network of sigmoid units without batch normalisation and with it, and open what it computes.',
    steps: [
      { text: 'Three epochs without batch normalisation', done: (m) => m.grown && m.state.settings.normalisation === 'none' && ended(m) >= 3 },
      {
        text: 'With it, 80 % validation accuracy within three',
        done: (m) =>
          m.grown && m.state.settings.normalisation === 'batch' && m.state.epoch <= 3 && (m.points.at(-1)?.val_accuracy ?? 0) >= 0.8,
      },
      { text: 'Open an x̂ of a batch norm layer', done: (m) => /batch_norm\.x_hat:/.test(opened(m)) },
    ],
    ways: [
      { name: 'Set up without', view: 'train', settings: deep },
      { name: 'Set up with batch norm', view: 'train', settings: { ...deep, normalisation: 'batch' } },
      { name: 'Open See through', view: 'see', args: ['test', 0] },
    ],
  },
]

export const lessons: Lesson[] = Object.entries(texts)
  .toSorted(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
  .map(([, html], i) => ({ id: String(i + 1), title: /<h1>(.*?)<\/h1>/.exec(html)?.[1] ?? '', html: html.replace(/<h1>.*?<\/h1>/, ''), ...tasks[i]! }))

const key = 'glassnet lessons'

interface Kept {
  running: string | null
  done: Record<string, boolean[]>
}

/** What was kept, as far as it is what this page would keep. */
function load(): Kept {
  const kept: Kept = { running: null, done: Object.fromEntries(lessons.map((l) => [l.id, l.steps.map(() => false)])) }
  try {
    const found = JSON.parse(localStorage.getItem(key) ?? '{}') as Partial<Kept> | null
    if (lessons.some((l) => l.id === found?.running)) kept.running = found!.running!
    for (const l of lessons) kept.done[l.id] = l.steps.map((_, i) => found?.done?.[l.id]?.[i] === true)
  } catch {
    // Storage is not allowed, or holds something else: the lessons begin anew.
  }
  return kept
}

class Progress {
  private kept = $state<Kept>(load())
  /** The step that was ticked last, in words: to be read out. */
  said = $state('')
  private since: { training: number; branch: number; step: number } | null = null

  running = $derived(lessons.find((l) => l.id === this.kept.running) ?? null)

  constructor() {
    onDeed((deed) => this.judge(deed))
    $effect.root(() => {
      $effect(() => {
        void training.state
        void training.points
        untrack(() => this.judge(null))
      })
    })
  }

  isDone = (lesson: Lesson, step: number): boolean => this.kept.done[lesson.id]?.[step] ?? false
  count = (lesson: Lesson): number => lesson.steps.filter((_, i) => this.isDone(lesson, i)).length
  finished = (lesson: Lesson): boolean => this.count(lesson) === lesson.steps.length

  begin(lesson: Lesson): void {
    this.kept.running = lesson.id
    this.said = ''
    this.mark()
    this.save()
  }

  close(): void {
    this.kept.running = null
    this.save()
  }

  startOver(lesson: Lesson): void {
    this.kept.done[lesson.id] = lesson.steps.map(() => false)
    this.said = ''
    this.mark()
    this.save()
  }

  private mark(): void {
    const s = training.state
    this.since = s && { training: s.training, branch: s.branch, step: s.step }
  }

  private judge(deed: Deed | null): void {
    const { state } = training
    const lesson = this.running
    if (!state || !lesson) return
    if (!this.since) this.mark() // the page was opened anew
    const points = training.points.filter((p) => p.branch === state.branch)
    const moment: Moment = { deed, state, points, path: pathTo(training.points, training.branches, state.branch), grown: this.grown(state, points) }
    lesson.steps.forEach((step, i) => {
      if (this.isDone(lesson, i) || !step.done(moment)) return
      this.kept.done[lesson.id]![i] = true
      const count = this.count(lesson)
      this.said = `Done: ${step.text}. ${count} of ${lesson.steps.length}${count === lesson.steps.length ? ': the task is finished' : ''}.`
      this.save()
    })
  }

  private grown(now: State, points: Point[]): boolean {
    const then = this.since
    if (then === null || now.training !== then.training) return now.step > 0
    return now.branch === then.branch ? now.step > then.step : points.length > 0
  }

  private save(): void {
    try {
      localStorage.setItem(key, JSON.stringify(this.kept))
    } catch {
      // Without storage the progress lasts as long as the page.
    }
  }
}

export const progress = new Progress()
