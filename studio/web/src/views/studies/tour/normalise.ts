// The two normalisations of the tour, of a matrix whose rows are examples.

export interface Normalised {
  mean: number[]
  deviation: number[] // √(variance + ε)
  values: number[][]
}

function statistics(v: number[], epsilon: number): [mean: number, deviation: number] {
  const mean = v.reduce((sum, x) => sum + x, 0) / v.length
  const variance = v.reduce((sum, x) => sum + (x - mean) ** 2, 0) / v.length
  return [mean, Math.sqrt(variance + epsilon)]
}

/** Per example over its units, as in the published study (ε as there). */
export function perExample(x: number[][]): Normalised {
  const of = x.map((row) => statistics(row, 1e-8))
  return {
    mean: of.map(([m]) => m),
    deviation: of.map(([, d]) => d),
    values: x.map((row, i) => row.map((v) => (v - of[i]![0]) / of[i]![1])),
  }
}

/** Per unit over the examples of the batch: batch normalisation, before its scale and shift. */
export function perUnit(x: number[][]): Normalised {
  const of = x[0]!.map((_, j) =>
    statistics(
      x.map((row) => row[j]!),
      1e-5,
    ),
  )
  return {
    mean: of.map(([m]) => m),
    deviation: of.map(([, d]) => d),
    values: x.map((row) => row.map((v, j) => (v - of[j]![0]) / of[j]![1])),
  }
}

/** The rows, from 0, that are equal but for rounding: pairs. */
export function equalRows(x: number[][]): [number, number][] {
  const pairs: [number, number][] = []
  for (let a = 0; a < x.length; a++) {
    for (let b = a + 1; b < x.length; b++) {
      if (x[a]!.every((v, j) => Math.abs(v - x[b]![j]!) < 1e-5)) pairs.push([a, b])
    }
  }
  return pairs
}
