// Where the branches of a training lie on the map: one lane each, snapshots along it.
import type { Branch, Snapshot } from '../../lib/api.ts'

export interface Lane {
  branch: Branch
  last: number // its last step that is known
  snapshots: Snapshot[]
}

export function lanesOf(branches: Branch[], snapshots: Snapshot[], current: number, step: number): Lane[] {
  return branches.map((branch) => {
    const own = snapshots.filter((s) => s.branch === branch.branch)
    const last = Math.max(branch.step, own.at(-1)?.step ?? 0, branch.branch === current ? step : 0)
    return { branch, last, snapshots: own }
  })
}

/** The snapshot of a lane whose step is closest. */
export function closest(lane: Lane | undefined, step: number): Snapshot | undefined {
  return lane?.snapshots.reduce((best, s) => (Math.abs(s.step - step) < Math.abs(best.step - step) ? s : best))
}

/** Where a key leads from a snapshot, or from now when there is none: along its lane, or to another one. */
export function led(key: string, lanes: Lane[], from: Snapshot | undefined, current: number, step: number): Snapshot | undefined {
  const full = lanes.filter((l) => l.snapshots.length > 0)
  const branch = from?.branch ?? current
  const row = Math.max(0, full.findIndex((l) => l.branch.branch === branch))
  const lane = full[row]
  if (!lane) return undefined
  const place = from ? lane.snapshots.findIndex((s) => s.id === from.id) : lane.snapshots.length
  switch (key) {
    case 'ArrowLeft':
      return lane.snapshots[Math.max(0, place - 1)]
    case 'ArrowRight':
      return lane.snapshots[Math.min(lane.snapshots.length - 1, place + 1)]
    case 'ArrowUp':
      return closest(full[Math.max(0, row - 1)], from?.step ?? step)
    case 'ArrowDown':
      return closest(full[Math.min(full.length - 1, row + 1)], from?.step ?? step)
    case 'Home':
      return lane.snapshots[0]
    case 'End':
      return lane.snapshots.at(-1)
  }
  return undefined
}
