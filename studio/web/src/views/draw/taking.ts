import { images } from '../../lib/images.ts'
import { training } from '../../lib/training.svelte.ts'
import { pad } from './pad.svelte.ts'
import { ofExample } from './under.ts'

/** Puts an example of the test set on the pad. */
export async function take(example: number): Promise<void> {
  const { dataset } = training.state!
  const image = (await training.doing(() => images.test.of(dataset, [example])))?.get(example)
  if (image) pad.put(ofExample(image, `test example ${example}`), image.label)
}
