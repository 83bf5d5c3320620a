// How the figures of a study are written: as in its report, accuracies as shares.
import type { Results, Summary } from '../../lib/api.ts'

export interface Column {
  metric: string
  title: string
  digits: number
}

export const columns: Column[] = [
  { metric: 'test_accuracy', title: 'Test accuracy', digits: 4 },
  { metric: 'val_accuracy', title: 'Validation accuracy', digits: 4 },
  { metric: 'train_accuracy', title: 'Training accuracy', digits: 4 },
  { metric: 'test_cost', title: 'Test cost', digits: 4 },
  { metric: 'val_cost', title: 'Validation cost', digits: 4 },
  { metric: 'train_cost', title: 'Training cost', digits: 4 },
  { metric: 'steps', title: 'Steps', digits: 0 },
  { metric: 'steps_to_target', title: 'Steps to the target', digits: 0 },
  { metric: 'seconds_to_target', title: 'Seconds to the target', digits: 3 },
]

export const columnOf = (metric: string): Column => columns.find((c) => c.metric === metric) ?? { metric, title: metric, digits: 4 }

/** A number with so many decimals, thousands apart and a true minus sign; – where there is none. */
export function fixed(v: number | null | undefined, digits: number): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return '–'
  const text = v.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return text.replace(/^-(?=[0.,]*$)/, '').replace('-', '−')
}

/** The same with its sign, of a difference. */
export function difference(v: number | null | undefined, digits: number): string {
  const text = fixed(v, digits)
  return v !== null && v !== undefined && v > 0 ? `+${text}` : text
}

export function interval([lo, hi]: Summary['ci95'], digits: number, write = fixed): string {
  return lo === null || hi === null ? '' : `${write(lo, digits)}\u00a0to ${write(hi, digits)}`
}

export const normalisationName = (name: string): string =>
  ({ none: 'none', batch: 'batch norm', 'published-per-example': 'published, per example' })[name] ?? name

/** When something was, as the reader's country writes it. */
export const when = (time: string): string => new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** Why a run ended. */
export const stoppedName = (stopped: string): string =>
  ({
    criterion: 'two looks agreed',
    patience: 'no better for long enough',
    max_epochs: 'all epochs over',
    interrupted: 'interrupted',
    diverged: 'diverged',
  })[stopped] ?? stopped

/** What must be known before the figures are read. */
export function notices(r: Results): string[] {
  const all: string[] = []
  if (r.published && r.dataset.name !== 'mnist') {
    all.push(`This ran on ${r.dataset.name}, not on the MNIST of the published study: its figures cannot equal the published ones.`)
  } else if (r.dataset.fallback) {
    all.push(`MNIST could not be had: this ran on ${r.dataset.name}, which the program draws itself.`)
  }
  if (r.interrupted) all.push('The study was stopped: here is what was finished until then.')
  const diverged = r.experiments.flatMap((e) => e.runs).filter((run) => run.stopped === 'diverged').length
  if (diverged > 0) all.push(`${diverged === 1 ? '1 run' : `${diverged} runs`} diverged and ${diverged === 1 ? 'is' : 'are'} left out of means and comparisons.`)
  return [...all, ...(r.notes ?? [])]
}
