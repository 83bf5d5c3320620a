// Images that are put on the pad: an example of the test set, or a file.
import { base64 } from '../../lib/bytes.ts'
import type { Image } from '../../lib/images.ts'
import { canvasOf, pngOf, type Under } from './pad.svelte.ts'

/** An example, which the network gets as it is; on the pad it is dark on light, as what is drawn there. */
export function ofExample(image: Image, name: string): Under {
  const canvas = canvasOf(image.width, image.height)
  const context = canvas.getContext('2d')!
  const data = context.createImageData(image.width, image.height)
  image.pixels.forEach((v, i) => data.data.set([255 - v, 255 - v, 255 - v, 255], 4 * i))
  context.putImageData(data, 0, 0)
  return { image: canvas, drawing: { pixels: base64(image.pixels) }, name }
}

// What the server takes: requests of 256 KiB, of which base64 leaves three quarters, and images of 1024 pixels.
const mostBytes = 180 << 10
const mostSide = 1024

/** An image file; what is no PNG, or too large for the server, is made one that it takes. */
export async function ofFile(file: File): Promise<Under> {
  const image = await createImageBitmap(file)
  if (file.type === 'image/png' && file.size <= mostBytes && Math.max(image.width, image.height) <= mostSide) {
    return { image, drawing: { png: base64(new Uint8Array(await file.arrayBuffer())) }, name: file.name }
  }
  for (let most = Math.min(mostSide, Math.max(image.width, image.height)); ; most *= 0.7) {
    const scale = most / Math.max(image.width, image.height)
    const canvas = canvasOf(Math.max(1, Math.round(image.width * scale)), Math.max(1, Math.round(image.height * scale)))
    const context = canvas.getContext('2d')!
    context.imageSmoothingQuality = 'high'
    context.drawImage(image, 0, 0, canvas.width, canvas.height)
    const png = pngOf(canvas)
    if (png.length <= (mostBytes * 4) / 3) return { image, drawing: { png }, name: file.name }
  }
}
