// What the points of a training say about its branches.
import type { Branch, Point } from './api.ts'

/** The branch and those it comes from, the first first. */
export function lineage(branches: Branch[], branch: number): Branch[] {
  const all: Branch[] = []
  for (let b = branches.find((x) => x.branch === branch); b; b = branches.find((x) => x.branch === b!.parent)) all.unshift(b)
  return all
}

/** What was made at a step of a branch or, up to where it leaves them, of those it comes from. */
export function pathTo<T extends { branch: number; step: number }>(points: T[], branches: Branch[], branch: number): T[] {
  const line = lineage(branches, branch)
  return line.flatMap((b, i) => {
    const until = line[i + 1]?.step ?? Infinity
    return points.filter((p) => p.branch === b.branch && p.step <= until)
  })
}

/** The points of a branch itself, led by the last before it, so that its curve begins where it leaves its parent. */
export function curveOf(points: Point[], branches: Branch[], branch: number): Point[] {
  const own = points.filter((p) => p.branch === branch)
  const it = branches.find((b) => b.branch === branch)
  if (!it || it.parent < 0) return own
  const from = pathTo(points, branches, it.parent).findLast((p) => p.step <= it.step)
  return from ? [from, ...own] : own
}

/** The last point at or before a step on the way to a branch, and the last with a look at the validation set. */
export function figuresAt(points: Point[], branches: Branch[], branch: number, step: number): { point: Point | undefined; look: Point | undefined } {
  const before = pathTo(points, branches, branch).filter((p) => p.step <= step)
  return { point: before.at(-1), look: before.findLast((p) => p.val_cost !== null) }
}

/** The learning rate that a branch has at a step. */
export function rateAt(points: Point[], branches: Branch[], branch: number, step: number): number {
  const it = branches.find((b) => b.branch === branch)!
  const parent = branches.find((b) => b.branch === it.parent)
  const own = points.findLast((p) => p.branch === branch && p.step <= step)
  if (own) return own.learning_rate
  return parent && parent.settings.learning_rate === it.settings.learning_rate
    ? rateAt(points, branches, parent.branch, it.step)
    : it.settings.learning_rate
}

export interface RateChange {
  branch: number
  step: number // after which
  rate: number
}

/** Where a branch's learning rate changed, also against its parent's. */
export function rateChanges(points: Point[], branches: Branch[]): RateChange[] {
  return branches.flatMap((b) => {
    const parent = branches.find((x) => x.branch === b.parent) ?? b
    const curve = curveOf(points, branches, b.branch)
    const start = { step: b.step, learning_rate: parent.settings.learning_rate }
    return curve.flatMap((p, i) => {
      const before = curve[i - 1] ?? (p.branch === b.branch ? start : p)
      return before.learning_rate === p.learning_rate ? [] : [{ branch: b.branch, step: before.step, rate: p.learning_rate }]
    })
  })
}

export interface Agreement {
  shared: number // points at the same steps and learning rate
  equal: boolean // all of them, to the last digit
  parted: number | null // the step at which their learning rates differ first
}

/** How a branch that changed nothing compares with its parent. */
export function agreement(points: Point[], branches: Branch[], branch: number): Agreement {
  const none = { shared: 0, equal: true, parted: null }
  const it = branches.find((b) => b.branch === branch)
  if (!it || it.parent < 0) return none
  const parent = new Map(points.filter((p) => p.branch === it.parent).map((p) => [p.step, p]))
  // A point is a mean since the one before. Where the branch began between two of its
  // parent's, its first is a mean over fewer examples.
  const whole = it.step === 0 || points.some((p) => p.step === it.step)
  const own = points.filter((p) => p.branch === branch).slice(whole ? 0 : 1)
  const pairs = own.flatMap((p) => (parent.has(p.step) ? [[p, parent.get(p.step)!] as const] : []))
  const part = pairs.findIndex(([a, b]) => a.learning_rate !== b.learning_rate)
  const together = part < 0 ? pairs : pairs.slice(0, part)
  const equal = together.every(
    ([a, b]) => a.train_cost === b.train_cost && a.train_accuracy === b.train_accuracy && a.val_cost === b.val_cost && a.val_accuracy === b.val_accuracy,
  )
  return { shared: together.length, equal, parted: pairs[part]?.[0].step ?? null }
}

const colours = [
  'var(--ink)',
  'light-dark(#8a2f9c, #d99af0)',
  'light-dark(#1d6b36, #7fd49a)',
  'light-dark(#b3245f, #ff9dc4)',
  'light-dark(#6f5a00, #dfc15a)',
  'light-dark(#4547b0, #adadff)',
]
const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3]]

/** How a branch is drawn, everywhere: its colour, and its dashes for those who do not tell colours apart. */
export const branchColour = (branch: number): string => colours[branch % colours.length]!
export const branchDash = (branch: number): number[] => dashes[branch % dashes.length]!
