// How numbers are written, everywhere on the page.

/** A number to so many significant digits, with a true minus sign. */
export function number(v: number | null | undefined, digits = 4): string {
  if (v === null || v === undefined || !Number.isFinite(v)) return '–'
  if (v === 0) return '0'
  const size = Math.abs(v)
  const text = size >= 1e-3 && size < 1e6 ? Number(v.toPrecision(digits)).toString() : exponent(v, digits)
  return text.replace('-', '−')
}

function exponent(v: number, digits: number): string {
  const [mantissa, power] = v.toExponential(digits - 1).split('e')
  const times = { 1: '', [-1]: '-' }[Number(mantissa)] ?? `${Number(mantissa)}·`
  return `${times}10${superscript(Number(power))}`
}

function superscript(n: number): string {
  return String(n).replace(/./g, (c) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)] ?? '⁻')
}

/** A sentence of the server with its numbers as the page writes them. */
export const prose = (text: string): string =>
  text
    .replace(/(\d(?:\.\d+)?)e([+-]\d+)/g, (_, mantissa: string, power: string) => `${mantissa === '1' ? '' : `${mantissa}·`}10${superscript(Number(power))}`)
    .replace(/(^|[\s([])-(?=\d)/g, '$1−')

/** What a comparison of a study shows, with true minus signs; names of experiments stay what they are. */
export const signed = (finding: string): string => finding.replace(/\b(difference|interval|to) -(?=\d)/g, '$1 −')

/** A whole number with its thousands apart. */
export const whole = (n: number): string => thousands.format(n)

const thousands = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** A share as a percentage. */
export const percent = (share: number | null | undefined, digits = 1): string =>
  share === null || share === undefined || !Number.isFinite(share) ? '–' : `${(100 * share).toFixed(digits)} %`

/** A probability: one that is not 1 is not shown as 100 %. */
export const surely = (p: number | null | undefined): string =>
  p !== null && p !== undefined && p < 1 && p >= 0.9995 ? 'over 99.9 %' : percent(p)

/** A time in words. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–'
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}

/** What the form calls a setting that the server has refused by its key. */
export const byLabel = (message: string): string =>
  message.replace(/^hidden\[(\d+)\]/, (_, i) => `Hidden layer ${Number(i) + 1}`).replace(/^[a-z0-9_]+(?= )/, (key) => labels[key] ?? key)

const labels: Record<string, string> = {
  batch: 'Batch size',
  epochs: 'Epochs',
  hidden: 'Hidden layers',
  l2: 'L2 penalty λ',
  learning_rate: 'Learning rate',
  seed: 'Seed',
  validation: 'Validation share',
}

/** The names of layers as people say them. */
export const layerName = (kind: string): string =>
  ({ dense: 'dense', relu: 'ReLU', sigmoid: 'sigmoid', tanh: 'tanh', batch_norm: 'batch norm', published_per_example_norm: 'published norm' })[kind] ?? kind
