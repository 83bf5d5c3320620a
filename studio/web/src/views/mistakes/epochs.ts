// The ends of epochs on the way to where the training is now.
import type { Branch, Point, Snapshot, State } from '../../lib/api.ts'
import { pathTo } from '../../lib/branches.ts'

/** The snapshots at the ends of epochs; the first may be that before the first step. */
export function epochEnds(snapshots: Snapshot[], branches: Branch[], state: State): Snapshot[] {
  return pathTo(snapshots, branches, state.branch).filter((one, i, all) => one.ends && one.step !== all[i - 1]?.step)
}

export interface EpochPoint {
  step: number
  epoch: number
  mistaken: number // share of the validation set or, without one, of the training examples seen
}

export function mistakesByEpoch(points: Point[], branches: Branch[], state: State): EpochPoint[] {
  return pathTo(points, branches, state.branch)
    .filter((p) => p.ends)
    .map((p) => ({ step: p.step, epoch: p.epoch, mistaken: 1 - (p.val_accuracy ?? p.train_accuracy) }))
}
