import assert from 'node:assert/strict'
import { Buffer } from 'node:buffer'
import { after, before, test } from 'node:test'
import type { Page, Request } from 'playwright-core'
import type { Nearest, Prediction } from '../src/lib/api.ts'
import { number, percent } from '../src/lib/show.ts'
import { accessible, fits, Studio } from './studio.ts'

let studio: Studio
let page: Page
let predictions: Predictions
before(async () => {
  studio = await Studio.open()
  page = await studio.page()
  predictions = new Predictions(page)
})
after(() => studio.close())

type Place = [number, number] // shares of the pad

const one: Place[] = [[0.5, 0.15], [0.5, 0.85]]
const letterM: Place[] = [[0.2, 0.85], [0.2, 0.2], [0.5, 0.6], [0.8, 0.2], [0.8, 0.85]]
const filledSquare = Array.from({ length: 13 }, (_, i): Place => [i % 2 ? 0.25 : 0.75, 0.25 + (0.5 * i) / 12])

const pad = (p: Page = page) => p.getByRole('application', { name: 'Drawing pad' })
const answer = (p: Page = page) => p.getByRole('region', { name: 'The network’s answer' })
const hint = (p: Page = page) => answer(p).getByText('The network answers while you draw.')

/** The answer, once it is that to what is on the pad. */
const settled = () => page.locator('[aria-label="The network’s answer"][aria-busy="false"]').filter({ has: page.getByTestId('predicted') })

async function draw(stroke: Place[], p: Page = page): Promise<void> {
  const box = (await pad(p).boundingBox())!
  const to = ([x, y]: Place) => [box.x + x * box.width, box.y + y * box.height] as const
  await p.mouse.move(...to(stroke[0]!))
  await p.mouse.down()
  for (const place of stroke.slice(1)) await p.mouse.move(...to(place), { steps: 4 })
  await p.mouse.up()
}

/** What the page asks of predictions, and the last answer. */
class Predictions {
  asked = 0
  most = 0 // under way at once
  last: { request: Request; prediction: Promise<Prediction> } | null = null
  private under = new Set<Request>()

  constructor(p: Page) {
    const is = (r: Request) => r.url().endsWith('/api/predict')
    p.on('request', (r) => {
      if (!is(r)) return
      this.asked++
      this.under.add(r)
      this.most = Math.max(this.most, this.under.size)
    })
    p.on('requestfailed', (r) => this.under.delete(r))
    p.on('response', (r) => {
      if (!is(r.request())) return
      this.under.delete(r.request())
      this.last = { request: r.request(), prediction: r.json() as Promise<Prediction> }
    })
  }
}

/** Opens the view on a network that has been trained, and waits for the yardstick of doubt. */
async function trained(p: Page = page): Promise<void> {
  await studio.fresh(p, 'draw')
  await studio.post('control', { action: 'start' })
  await p.getByTestId('phase').getByText('done').waitFor()
  await p.getByRole('button', { name: 'Put test example 0 on the pad' }).click()
  await p.getByTestId('typical').getByText('99 %').waitFor({ timeout: 120_000 })
  await p.getByRole('button', { name: 'Clear' }).click()
  await hint(p).waitFor()
}

/** What the page shows once it waits for nothing must be what the server says of the same pixels, asked for apart. */
async function showsWhatTheServerSays(): Promise<Prediction> {
  const probabilities = answer().getByRole('list', { name: 'Probabilities' }).getByRole('listitem')
  const logits = answer().getByRole('list', { name: 'Logits' }).getByRole('listitem')
  await settled().waitFor()
  const { pixels } = await predictions.last!.prediction
  const prediction = (await studio.post('predict', { at: -1, pixels })) as Prediction
  const last = (texts: string[]) => texts.map((t) => t.split(/\s*\n\s*/).at(-1))
  assert.deepEqual(last(await probabilities.allInnerTexts()), prediction.probabilities.map((v) => percent(v)))
  assert.deepEqual(last(await logits.allInnerTexts()), prediction.logits.map((v) => number(v, 3)))
  assert.equal(await page.getByTestId('predicted').innerText(), String(prediction.predicted))
  assert.equal(await page.getByTestId('entropy').innerText(), number(prediction.entropy, 3))
  assert.equal(await page.getByTestId('distance').innerText(), number(prediction.distance, 3))
  return prediction
}

const minutes = { timeout: 300_000 }

test('without a network the view says what to do, and asks for nothing', async () => {
  await page.goto(`${studio.url}#draw`)
  await page.getByText('No network yet').waitFor()
  await draw(one)
  await page.getByRole('button', { name: 'Clear' }).click()
  await page.getByRole('button', { name: 'Clear', disabled: true }).waitFor()
  assert.equal(predictions.asked, 0)
  await answer().getByRole('link', { name: 'Train' }).waitFor()
})

test('a digit drawn with the mouse is read, one request at a time, and goes to See through', minutes, async () => {
  await trained()
  const before = predictions.asked
  await draw(one)
  const prediction = await showsWhatTheServerSays()
  assert.equal(prediction.predicted, 1)
  assert.ok(predictions.asked > before)
  assert.equal(predictions.most, 1)

  // Each stage that the server tells is shown, with its sentence and its size.
  const { stages } = await predictions.last!.prediction
  const shown = page.getByRole('listitem').filter({ has: page.getByRole('img', { name: /^Stage / }) })
  assert.ok(stages.length >= 4)
  assert.deepEqual(
    (await shown.allInnerTexts()).map((t) => t.trim().toLowerCase().split(/\s*\n\s*/)),
    stages.map((s) => [s.what.toLowerCase(), `${s.width} × ${s.height}`]),
  )

  // So are the nearest training digits, which lead to See through.
  const links = page.getByRole('region', { name: 'The nearest training digits' }).getByRole('link')
  assert.deepEqual(
    await Promise.all((await links.all()).map((l) => l.getAttribute('href'))),
    prediction.nearest.map((n: Nearest) => `#see/train/${n.example}`),
  )

  // The maps are of the class that is chosen.
  await page.getByRole('img', { name: /^Occlusion for class 1/ }).waitFor()
  const asked = page.waitForRequest((r) => r.url().endsWith('/api/saliency') && r.postDataJSON().class === 7)
  await page.getByLabel('for the class').selectOption('7')
  assert.equal((await asked).postDataJSON().pixels, prediction.pixels)
  await page.getByRole('img', { name: /^Occlusion for class 7/ }).waitFor()

  // Where the person has not said what was meant, nothing is right or wrong. See through finds the drawing by itself, too.
  await page.goto(`${studio.url}#see/drawn`)
  await page.getByTestId('label').getByText('1, what the network said: say under Draw what you meant').waitFor()
  assert.match(await page.getByTestId('says').innerText(), /^1, [\d.]+ %$|^1, over 99.9 %$/)
  await page.goBack()

  await page.getByRole('group', { name: 'What did you mean?' }).getByRole('button', { name: '7' }).click()
  await answer().getByText('Wrong: you meant 7.').waitFor()
  await page.getByRole('button', { name: 'See through it' }).click()
  await page.waitForURL(/#see\/drawn$/)
  await page.getByTestId('label').getByText('7', { exact: true }).waitFor()
  await page.getByTestId('says').getByText(', wrong').waitFor()
  // Who comes back finds the drawing.
  await page.goBack()
  assert.equal((await showsWhatTheServerSays()).predicted, 1)
  await answer().getByText('Wrong: you meant 7.').waitFor()
})

test('a digit drawn with the keyboard is read; undo takes strokes back', minutes, async () => {
  await trained()
  await page.getByText('The pen is up.').waitFor()
  await pad().focus()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Space')
  await page.getByText('The pen is down.').waitFor()
  for (let i = 0; i < 18; i++) await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.getByText('The pen is up.').waitFor()
  for (let i = 0; i < 9; i++) await page.keyboard.press('ArrowRight')
  assert.equal((await showsWhatTheServerSays()).predicted, 1)
  await page.keyboard.press('Control+z')
  await hint().waitFor()
  assert.equal(await page.getByRole('img', { name: /^Stage / }).count(), 0)
})

test('what is no digit is doubted, whatever its probability', minutes, async () => {
  await trained()
  for (const [name, stroke] of Object.entries({ letterM, filledSquare })) {
    await draw(stroke)
    const prediction = await showsWhatTheServerSays()
    assert.notEqual(prediction.doubt, '', `${name}: distance ${prediction.distance} of ${JSON.stringify(prediction.typical)}`)
    assert.equal(await page.getByTestId('doubt').innerText(), prediction.doubt)
    const head = await answer().getByRole('heading').first().innerText()
    assert.match(head, prediction.far ? /^Not like any training digit$/ : /^Perhaps \d, but that is doubtful$/)
    await page.getByRole('button', { name: 'Clear' }).click()
    await hint().waitFor()
  }
})

test('an example of the test set is read as it is', minutes, async () => {
  await trained()
  const example = 5
  const { pixels, labels } = (await studio.post('images', { set: 'test', examples: [example] })) as { pixels: string; labels: number[] }
  await page.getByLabel('Example', { exact: true }).fill(String(example))
  await page.getByRole('button', { name: 'Take' }).click()
  await page.getByText(`On the pad: test example ${example}.`).waitFor()
  const prediction = await showsWhatTheServerSays()
  assert.equal((await predictions.last!.prediction).pixels, pixels)
  await page.getByText('in the network’s form already').waitFor()
  await answer().getByText(prediction.predicted === labels[0] ? 'Right.' : `Wrong: you meant ${labels[0]}.`).waitFor()
})

/** A PNG of a one; of one on noise, which no PNG makes small; or of nothing. */
async function picture(side: number, kind: 'plain' | 'noisy' | 'blank'): Promise<Buffer> {
  const base64 = await page.evaluate(
    ([side, kind]) => {
      const canvas = document.createElement('canvas')
      canvas.width = canvas.height = side
      const c = canvas.getContext('2d')!
      const image = c.createImageData(side, side)
      for (let i = 0; i < image.data.length; i++) image.data[i] = i % 4 === 3 ? 255 : kind === 'noisy' ? 200 + 55 * Math.random() : 255
      c.putImageData(image, 0, 0)
      if (kind !== 'blank') c.fillRect(0.45 * side, 0.15 * side, 0.08 * side, 0.7 * side)
      return canvas.toDataURL().split(',')[1]!
    },
    [side, kind] as const,
  )
  return Buffer.from(base64, 'base64')
}

test('image files are read; large ones are made small enough first, others are refused in words', minutes, async () => {
  await trained()
  const file = page.getByLabel('Image file', { exact: true })
  const choose = (name: string, buffer: Buffer) => file.setInputFiles({ name, mimeType: 'image/png', buffer })

  const small = await picture(100, 'plain')
  await choose('one.png', small)
  await page.getByText('On the pad: one.png.').waitFor()
  assert.equal((await showsWhatTheServerSays()).predicted, 1)
  assert.equal(predictions.last!.request.postDataJSON().png, small.toString('base64'))

  const large = await picture(1200, 'noisy')
  assert.ok(large.length > 1e6)
  await choose('large.png', large)
  await page.getByText('On the pad: large.png.').waitFor()
  await showsWhatTheServerSays()
  assert.ok(predictions.last!.request.postData()!.length < 256 * 1024)

  await choose('blank.png', await picture(50, 'blank'))
  await answer().getByRole('alert').getByText('no ink').waitFor()
  await choose('text.png', Buffer.from('not an image'))
  await page.getByText('text.png is not an image that this browser can read.').waitFor()
})

test('while it trains, the drawing is read again, at most twice a second; so it is at another time', minutes, async () => {
  await trained()
  await studio.fresh(page, 'draw', { epochs: 500 })
  await draw(one)
  await settled().getByText('this is a guess').waitFor()
  const begin = await page.evaluate(() => {
    performance.clearResourceTimings()
    return performance.now()
  })
  await studio.post('control', { action: 'start' })
  const times = await page.waitForFunction((begin) => {
    const times = performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/predict') && e.startTime > begin).map((e) => e.startTime)
    return times.length > 4 && times
  }, begin).then((handle) => handle.jsonValue() as Promise<number[]>)
  const apart = times.slice(1).map((t, i) => Math.round(t - times[i]!))
  assert.ok(Math.min(...apart) > 400, `predictions ${apart.join(', ')} ms apart`)
  assert.equal(predictions.most, 1)
  await studio.post('control', { action: 'stop' })
  await page.getByTestId('phase').getByText('stopped').waitFor()
  await showsWhatTheServerSays()

  const asked = page.waitForRequest((r) => r.url().endsWith('/api/predict') && r.postDataJSON().at !== -1)
  await page.getByLabel('Time', { exact: true }).press('Home')
  const { at, png } = (await asked).postDataJSON() as { at: number; png: string }
  const then = (await studio.post('predict', { at, png })) as Prediction
  await page.getByTestId('entropy').getByText(number(then.entropy, 3), { exact: true }).waitFor()
})

test('it is accessible and fits, empty and answered, light and dark', minutes, async () => {
  for (const [width, dark] of [[1280, false], [768, true], [360, false], [360, true]] as const) {
    const p = await studio.page({ width, dark })
    const where = `Draw at ${width}, ${dark ? 'dark' : 'light'}`
    await trained(p)
    await accessible(p, `${where}, empty`)
    await fits(p, `${where}, empty`)
    await draw(letterM, p)
    await p.getByRole('img', { name: /^Occlusion/ }).waitFor()
    await p.getByRole('img', { name: /^Training example/ }).first().waitFor()
    await accessible(p, where)
    await fits(p, where)
    await p.context().close()
  }
})
