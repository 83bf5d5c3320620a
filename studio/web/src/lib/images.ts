// Images of the data set, kept once they were asked for.
import { api } from './api.ts'
import { bytes } from './bytes.ts'

export interface Image {
  label: number
  width: number
  height: number
  pixels: Uint8Array
}

const atOnce = 120 // what the server gives at once
const mostKept = 4000

export class Images {
  private kept = new Map<number, Image>()
  private dataset = ''

  constructor(private readonly set: 'train' | 'test') {}

  /** The images of examples of the data set of that name, which must be the training's. */
  async of(dataset: string, examples: number[]): Promise<Map<number, Image>> {
    if (dataset !== this.dataset || this.kept.size > mostKept) this.kept = new Map()
    this.dataset = dataset
    const kept = this.kept
    const missing = examples.filter((e) => !kept.has(e))
    for (let first = 0; first < missing.length; first += atOnce) {
      const some = missing.slice(first, first + atOnce)
      const { width, height, labels, pixels } = await api.images(this.set, some)
      const all = bytes(pixels)
      const size = width * height
      some.forEach((e, i) => kept.set(e, { label: labels[i]!, width, height, pixels: all.subarray(i * size, (i + 1) * size) }))
    }
    return new Map(examples.map((e) => [e, kept.get(e)!]))
  }
}

export const images = { train: new Images('train'), test: new Images('test') }
