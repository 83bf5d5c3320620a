// What the page costs and how quickly it answers, on this machine: prints one line a
// figure. Run it with nothing else going on:
//
//	GLASSNET=... GLASSNET_DATA=... node --import tsx bench/page.ts
import { request } from 'node:http'
import { Studio } from '../tests/studio.ts'

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
}

const began = performance.now()
const studio = await Studio.open()
const listening = performance.now() - began
const page = await studio.page()
const opened = performance.now()
await page.goto(studio.url)
await page.getByTestId('phase').waitFor()
const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]!.startTime)
console.log(`start of the command to its address, browser's start included: ${listening.toFixed(0)} ms`)
console.log(`page asked for to first paint ${paint.toFixed(0)} ms, to the first answer shown ${(performance.now() - opened).toFixed(0)} ms`)

await studio.post('configure', { epochs: 1_000_000 })
interface Steps {
  state: { step: number }
}
/** Steps a second over a while. */
async function speed(seconds: number): Promise<number> {
  const before = (await studio.get('state')) as Steps
  const from = performance.now()
  await new Promise((r) => setTimeout(r, 1000 * seconds))
  const after = (await studio.get('state')) as Steps
  return (after.state.step - before.state.step) / ((performance.now() - from) / 1000)
}
/** Holds n event streams open, which read as fast as they can. */
function watch(n: number): () => void {
  const streams = Array.from({ length: n }, () => {
    const r = request(`${studio.url}api/events`, (response) => response.resume())
    r.on('error', () => {})
    r.end()
    return r
  })
  return () => streams.forEach((r) => r.destroy())
}

await studio.post('control', { action: 'start' })
// Each is compared with the mean of the speeds alone right before and after it; the machine
// is not the same from one minute to the next. What opens has two seconds to come to rest.
const ways = ['', 'train', 'time'] as const
const ratios = ways.map((): number[] => [])
async function alone(): Promise<number> {
  await page.goto('about:blank')
  await page.waitForTimeout(2000)
  return speed(3)
}
let before = await alone()
for (let i = 0; i < 10; i++) {
  for (const [way, view] of ways.entries()) {
    const end = watch(4)
    if (view) await page.goto(`${studio.url}#${view}`)
    await page.waitForTimeout(2000)
    const seen = await speed(3)
    end()
    const after = await alone()
    ratios[way]!.push(seen / ((before + after) / 2))
    before = after
  }
}
for (const [way, view] of ways.entries()) {
  const all = ratios[way]!
  console.log(`speed of training with four watchers${view && ` and the page at ${view}`}: ${(100 * median(all)).toFixed(1)} % of alone (${all.map((r) => (100 * r).toFixed(0)).join(', ')})`)
}

for (const view of ['train', 'time', 'see', 'mistakes']) {
  await page.goto(`${studio.url}#${view}`)
  await page.waitForTimeout(1000)
  const frames = await page.evaluate(async () => {
    const gaps: number[] = []
    let last = await new Promise<number>(requestAnimationFrame)
    while (gaps.length < 300) {
      const now = await new Promise<number>(requestAnimationFrame)
      gaps.push(now - last)
      last = now
    }
    return gaps
  })
  const sorted = frames.toSorted((a, b) => a - b)
  console.log(`${view} while training: ${(1000 / (frames.reduce((a, b) => a + b) / frames.length)).toFixed(1)} frames a second, the longest hundredth ${sorted[Math.floor(0.99 * sorted.length)]!.toFixed(1)} ms`)
}

await page.goto(`${studio.url}#draw`)
const png = await page.evaluate(() => {
  const c = document.createElement('canvas')
  c.width = c.height = 280
  const g = c.getContext('2d')!
  g.fillStyle = 'white'
  g.fillRect(0, 0, 280, 280)
  g.fillRect(0, 0, 1, 1)
  g.lineWidth = 22
  g.beginPath()
  g.moveTo(90, 60)
  g.lineTo(190, 60)
  g.lineTo(130, 220)
  g.stroke()
  return c.toDataURL('image/png').split(',')[1]!
})
const took: number[] = []
for (let i = 0; i < 500; i++) {
  const ms = await page.evaluate(async (png) => {
    const from = performance.now()
    const response = await fetch('/api/predict', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ at: -1, png }) })
    await response.json()
    return performance.now() - from
  }, png)
  if (i >= 100) took.push(ms) // the yardstick is measured during the first
  await new Promise((r) => setTimeout(r, 20))
}
took.sort((a, b) => a - b)
console.log(`prediction asked by the page while training: median ${took[200]!.toFixed(1)} ms, 99th percentile ${took[396]!.toFixed(1)} ms`)
await studio.close()
