// One scale for sign and size on the whole page: orange above 0, blue below, and the
// ground for 0. The two are told apart by people of every kind of colour vision, and
// each number is also written where it matters.

type RGB = [number, number, number]

const light = { ground: [255, 255, 255] as RGB, above: [179, 71, 0] as RGB, below: [23, 96, 165] as RGB, ink: [20, 28, 32] as RGB }
const dark = { ground: [16, 22, 26] as RGB, above: [255, 157, 77] as RGB, below: [109, 182, 255] as RGB, ink: [236, 241, 243] as RGB }

const scheme = matchMedia('(prefers-color-scheme: dark)')

export const palette = () => (scheme.matches ? dark : light)

/** Calls f when the person changes between light and dark; returns how to stop. */
export function onScheme(f: () => void): () => void {
  scheme.addEventListener('change', f)
  return () => scheme.removeEventListener('change', f)
}

function mix(a: RGB, b: RGB, t: number): RGB {
  return [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t]
}

/** The colour of v where `largest` has the full one. Small values are lifted (square root of the share), so that they can be seen. */
export function signed(v: number, largest: number): RGB {
  const p = palette()
  const share = largest > 0 ? Math.min(1, Math.sqrt(Math.abs(v) / largest)) : 0
  return mix(p.ground, v >= 0 ? p.above : p.below, share)
}

/** The colour of an intensity in [0, 1]: ink on the ground. */
export function ink(v: number): RGB {
  const p = palette()
  return mix(p.ground, p.ink, Math.max(0, Math.min(1, v)))
}

export const css = (c: RGB): string => `rgb(${c.map(Math.round).join(' ')})`

/** The largest magnitude. */
export function largest(values: ArrayLike<number>): number {
  let most = 0
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]!))
  return most
}
