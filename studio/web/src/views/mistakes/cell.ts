/** A cell of the confusion matrix. */
export interface Cell {
  label: number
  predicted: number
}

export interface Pair extends Cell {
  count: number
  of: number // examples with that label
}

/** The cells off the diagonal that hold the most. */
export function mostConfused(confusion: number[][], most: number): Pair[] {
  return confusion
    .flatMap((row, label) => row.map((count, predicted) => ({ label, predicted, count, of: row.reduce((a, b) => a + b, 0) })))
    .filter((p) => p.label !== p.predicted && p.count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, most)
}
