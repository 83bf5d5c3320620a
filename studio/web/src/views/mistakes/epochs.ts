// The ends of epochs on the way to where the training is now.
import type { Branch, Point, Snapshot, State } from '../../lib/api.ts'

/** Those made on a branch or, before it left them, on the branches that it comes from. */
function onTheWay<T extends { branch: number; step: number }>(all: T[], branches: Branch[], branch: number): T[] {
  const parent = branches.find((b) => b.branch === branch)
  const own = all.filter((one) => one.branch === branch)
  if (!parent || parent.parent < 0) return own
  return [...onTheWay(all, branches, parent.parent).filter((one) => one.step <= parent.step), ...own]
}

/** The snapshots at the ends of epochs; the first may be that before the first step. */
export function epochEnds(snapshots: Snapshot[], branches: Branch[], state: State): Snapshot[] {
  return onTheWay(snapshots, branches, state.branch).filter((one, i, all) => one.step % state.steps_per_epoch === 0 && one.step !== all[i - 1]?.step)
}

export interface EpochPoint {
  step: number
  epoch: number
  mistaken: number // share of the validation set or, without one, of the training examples seen
}

export function mistakesByEpoch(points: Point[], branches: Branch[], state: State): EpochPoint[] {
  return onTheWay(points, branches, state.branch)
    .filter((p) => p.step % state.steps_per_epoch === 0)
    .map((p) => ({ step: p.step, epoch: p.step / state.steps_per_epoch, mistaken: 1 - (p.val_accuracy ?? p.train_accuracy) }))
}
