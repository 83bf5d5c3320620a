// The published study as it was run here: what the tour's pages speak of.
import type { Evidence, History, Results, StudyResults } from '../../../lib/api.ts'

export type Experiment = Results['experiments'][number]
export type Run = Experiment['runs'][number]

export interface Row {
  experiment: Experiment
  run: Run
  history: History | undefined
}

export interface Replay {
  results: Results
  histories: History[]
  names: string[]
  plain: Row // the first row: neither batch norm nor L2
  norm: Row // the second: what the table calls batch norm
  penalised: Row // the third: L2
  evidence: Evidence | undefined // of the second
}

/** Null unless all three experiments ran. */
export function replayOf(all: StudyResults | undefined): Replay | null {
  if (!all?.results.published) return null
  const row = (fits: (e: Experiment) => boolean): Row | null => {
    const experiment = all.results.experiments.find(fits)
    const run = experiment?.runs[0]
    return experiment && run ? { experiment, run, history: all.histories.find((h) => h.run === runName(run)) } : null
  }
  const plain = row((e) => e.normalisation === 'none' && e.l2 === 0)
  const norm = row((e) => e.normalisation === 'published-per-example')
  const penalised = row((e) => e.l2 > 0)
  if (!plain || !norm || !penalised) return null
  return {
    results: all.results,
    histories: all.histories,
    names: all.results.experiments.map((e) => e.name),
    plain,
    norm,
    penalised,
    evidence: all.evidence[runName(norm.run)],
  }
}

const runName = (run: Run): string => run.dir.split('/').at(-1) ?? run.dir

/** The number of a row in the published table: "exp2" is row 2. */
export const rowNumber = (r: Replay, row: Row): number => r.names.indexOf(row.experiment.name) + 1
