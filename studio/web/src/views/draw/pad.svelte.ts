// The drawing: strokes, over an image that was put under them. It outlives the view, so
// that who comes back finds it.

/** Side of the pad and width of its pen, in its own pixels: as wide as MNIST's strokes are once scaled. */
export const side = 280
export const penWidth = 22

const paper = '#ffffff'
const ink = '#000000'

export interface Point {
  x: number
  y: number
}

/** What the server is asked about, base64: a picture, or pixels that the network gets as they are. */
export type Drawing = { png: string } | { pixels: string }

/** An image on the pad, and what is asked about as long as nothing is drawn over it. */
export interface Under {
  image: ImageBitmap | HTMLCanvasElement
  drawing: Drawing
  name: string
}

export const clamp = (v: number): number => Math.max(0, Math.min(side, v))

class Pad {
  strokes = $state.raw<Point[][]>([])
  under = $state.raw<Under | null>(null)
  /** What the person meant; null as long as they did not say. */
  meant = $state<number | null>(null)
  /** The pen that the arrow keys move. */
  pen = $state.raw<Point>({ x: side / 2, y: side / 4 })
  penDown = $state(false)

  empty = $derived(this.strokes.length === 0 && this.under === null)

  begin(p: Point): void {
    this.strokes = [...this.strokes, [p]]
  }

  extend(...points: Point[]): void {
    const last = this.strokes.at(-1)
    if (last) this.strokes = [...this.strokes.slice(0, -1), [...last, ...points]]
  }

  movePen(dx: number, dy: number): void {
    this.pen = { x: clamp(this.pen.x + dx), y: clamp(this.pen.y + dy) }
    if (this.penDown) this.extend(this.pen)
  }

  togglePen(): void {
    this.penDown = !this.penDown
    if (this.penDown) this.begin(this.pen)
  }

  undo(): void {
    this.penDown = false
    if (this.strokes.length > 0) this.strokes = this.strokes.slice(0, -1)
    else this.under = null
    if (this.empty) this.meant = null
  }

  clear(): void {
    this.put(null)
  }

  put(under: Under | null, meant: number | null = null): void {
    this.penDown = false
    this.strokes = []
    this.under = under
    this.meant = meant
  }

  /** Paints all of it; the context's units are the pad's. */
  paint(c: CanvasRenderingContext2D): void {
    c.fillStyle = paper
    c.fillRect(0, 0, side, side)
    if (this.under) {
      const { image } = this.under
      const scale = side / Math.max(image.width, image.height)
      const [w, h] = [image.width * scale, image.height * scale]
      c.imageSmoothingEnabled = scale < 1
      c.drawImage(image, (side - w) / 2, (side - h) / 2, w, h)
    }
    c.strokeStyle = c.fillStyle = ink
    c.lineWidth = penWidth
    c.lineCap = c.lineJoin = 'round'
    for (const stroke of this.strokes) {
      c.beginPath()
      trace(c, stroke)
      c.stroke()
    }
  }

  drawing(): Drawing {
    if (this.under && this.strokes.length === 0) return this.under.drawing
    const canvas = canvasOf(side, side)
    this.paint(canvas.getContext('2d')!)
    return { png: pngOf(canvas) }
  }
}

/** A curve through the middles between points, so that a fast hand draws no corners. */
function trace(c: CanvasRenderingContext2D, stroke: Point[]): void {
  const [first, ...rest] = stroke
  if (!first) return
  const last = rest.at(-1) ?? first
  c.moveTo(first.x, first.y)
  rest.slice(0, -1).forEach((p, i) => {
    const next = rest[i + 1]!
    c.quadraticCurveTo(p.x, p.y, (p.x + next.x) / 2, (p.y + next.y) / 2)
  })
  c.lineTo(last.x + 0.01, last.y) // a line of no length would not be drawn
}

export function canvasOf(width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement('canvas')
  canvas.width = width
  canvas.height = height
  return canvas
}

export function pngOf(canvas: HTMLCanvasElement): string {
  return canvas.toDataURL('image/png').slice('data:image/png;base64,'.length)
}

export const pad = new Pad()
