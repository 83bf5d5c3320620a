import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import type { Page } from 'playwright-core'
import type { Everything, Look, Settings, State } from '../src/lib/api.ts'
import { number, percent, whole } from '../src/lib/show.ts'
import { layersOf } from '../src/views/train/layers.ts'
import { presets, settingsOf } from '../src/views/train/presets.ts'
import { accessible, counted, fits, Studio } from './studio.ts'

let studio: Studio
before(async () => (studio = await Studio.open()))
after(() => studio.close())
afterEach(async () => {
  for (const context of studio.browser.contexts()) await context.close()
  await studio.post('control', { action: 'pause' })
})

const everything = () => studio.get('state') as Promise<Everything>
const look = (at = -1) => studio.post('look', { at }) as Promise<Look>
const phase = (page: Page, words: string) => page.getByTestId('phase').getByText(words, { exact: true }).waitFor()
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const shown = (page: Page, id: string) => page.getByTestId(id).innerText()

/** Waits until the text of what has a test id is as wanted. */
const becomes = (page: Page, id: string, text: string) => page.getByTestId(id).filter({ hasText: text }).waitFor()

/** Waits until the page shows a look at a step. */
const looksAt = (page: Page, step: number) => page.locator(`[data-testid=look][data-step="${step}"]`).waitFor()

/** Trains to the end, without the page. */
async function finish(): Promise<Everything> {
  await studio.post('control', { action: 'start' })
  let all = await everything()
  while (all.state.phase === 'running') all = await everything()
  return all
}

describe('the form', () => {
  test('sets all that it shows', async () => {
    const page = await studio.page()
    await studio.fresh(page, 'train')
    const choose = (name: string, value: string) => page.getByRole('combobox', { name, exact: true }).selectOption(value)
    const fill = (name: string, value: string) => page.getByRole('spinbutton', { name, exact: true }).fill(value)
    await choose('Activation', 'tanh')
    await choose('Initial weights', 'glorot-uniform')
    await choose('Normalisation', 'batch')
    await choose('Its place', 'after')
    await choose('Precision', 'float64')
    await fill('Learning rate', '0.05')
    await fill('Batch size', '64')
    await fill('Epochs', '3')
    await fill('L2 penalty λ', '0.001')
    await fill('Validation share', '0.25')
    await fill('Seed', '11')

    // From 20-7-5 to 5-20-12-12 with the keyboard.
    const press = async (name: string) => {
      await button(page, name).focus()
      await page.keyboard.press('Enter')
    }
    await press('Move hidden layer 3 up')
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('aria-label')), 'Move hidden layer 2 up')
    await page.keyboard.press('Enter')
    await press('Remove hidden layer 3')
    await press('+ Add a hidden layer')
    await page.keyboard.press('ControlOrMeta+a')
    await page.keyboard.type('12')
    await press('+ Add a hidden layer')

    const { width, height, classes } = (await everything()).state
    const wanted = { hidden: [5, 20, 12, 12], activation: 'tanh', normalisation: 'batch', place: 'after' }
    const layers = layersOf(wanted, width * height, classes)
    assert.equal(await shown(page, 'widths'), `${width * height}-5-20-12-12-${classes}`)
    const total = layers.reduce((sum, l) => sum + l.parameters, 0)
    assert.equal(await shown(page, 'parameters'), whole(total))

    await button(page, 'Use these settings').click()
    await page.getByTestId('in-use').getByText(`${whole(total)} parameters`).waitFor()
    const { state } = await everything()
    assert.deepEqual(state.layers, layers)
    const expected: Partial<Settings> = {
      ...wanted, init: 'glorot-uniform', precision: 'float64', learning_rate: 0.05, batch: 64, epochs: 3, l2: 0.001, validation: 0.25, seed: 11, rule: 'sgd',
    }
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(state.settings[key as keyof Settings], value, key)
    })

  test('shows layers and parameters as the server makes them', async () => {
    for (const normalisation of ['none', 'batch', 'published-per-example'])
      for (const place of ['before', 'after'])
        for (const hidden of [[], [9], [20, 7, 5]]) {
          const s = { hidden, normalisation, place, activation: 'relu' }
          const state = (await studio.post('configure', s)) as State
          assert.deepEqual(layersOf(s, state.width * state.height, state.classes), state.layers, JSON.stringify(s))
        }
  })

  test('says beside the button what the server refuses', async () => {
    const page = await studio.page()
    await studio.fresh(page, 'train')
    const { training } = (await everything()).state
    await page.getByLabel('Normalisation').selectOption('batch')
    await page.getByLabel('Batch size').fill('1')
    await button(page, 'Use these settings').click()
    await becomes(page, 'refused', 'Batch size = 1 has no variance')
    assert.equal((await everything()).state.training, training)
    await page.getByLabel('Batch size').fill('32')
    await button(page, 'Use these settings').click()
    await page.getByTestId('in-use').getByText('batches of 32').waitFor()
    assert.equal(await page.getByTestId('refused').count(), 0)
    })

  test('asks before a training with steps is lost', async () => {
    const page = await studio.page()
    await studio.fresh(page, 'train')
    await button(page, 'One batch').click()
    await phase(page, 'paused')
    assert.equal(await page.getByRole('form', { name: 'Settings' }).count(), 0, 'the form stays open when the training has begun')
    await button(page, 'Other settings').click()
    // Only settings that can be used are worth the question.
    await page.getByLabel('Batch size').fill('0')
    await button(page, 'Use these settings').click()
    await becomes(page, 'refused', 'Batch size = 0, want 1')
    assert.equal(await button(page, 'Keep it').count(), 0)
    await page.getByLabel('Batch size').fill('32')
    await button(page, 'Use these settings').click()
    await button(page, 'Keep it').click()
    assert.equal(await page.getByTestId('refused').count(), 0)
    assert.equal((await everything()).state.step, 1)
    await button(page, 'Use these settings').click()
    await page.waitForFunction(() => document.activeElement?.textContent === 'Begin anew')
    await page.keyboard.press('Enter')
    await phase(page, 'ready')
    assert.equal((await everything()).state.step, 0)
    })

  test('takes a preset', async () => {
    const page = await studio.page()
    await studio.fresh(page, 'train')
    const preset = page.getByRole('button', { name: 'Batch norm to the rescue' })
    await preset.click()
    assert.equal(await preset.getAttribute('aria-pressed'), 'true')
    await page.getByLabel('Seed').fill('3')
    assert.equal(await preset.getAttribute('aria-pressed'), 'true', 'a seed is no part of a preset')
    await button(page, 'Use these settings').click()
    await page.getByTestId('in-use').getByText('batch norm').waitFor()
    const { settings } = (await everything()).state
    assert.deepEqual(settings, settingsOf(presets.find((p) => p.name === 'Batch norm to the rescue')!, settings))
    assert.equal(settings.seed, 3)
    await page.getByLabel('Epochs').fill('6')
    assert.equal(await preset.getAttribute('aria-pressed'), 'false')
    })
})

test('each preset teaches what it says', async (t) => {
  const accuracies = new Map<string, number[]>()
  for (const preset of presets)
    await t.test(preset.name, async () => {
      const { state } = await everything()
      await studio.post('configure', settingsOf(preset, { ...state.settings, precision: 'float32', seed: 1 }))
      const { points } = await finish()
      const seen = points.filter((p) => p.val_cost !== null)
      const end = await look()
      const dense = end.layers.filter((l) => l.kind === 'dense')
      const relus = end.layers.filter((l) => l.kind === 'relu')
      accuracies.set(preset.name, seen.map((p) => p.val_accuracy!))
      const accuracy = seen.at(-1)!.val_accuracy!
      if (preset.learns) assert.ok(accuracy > 0.85, `it says that it learns, and ends at ${accuracy}`)
      else assert.ok(accuracy < 0.25, `it says that it goes wrong, and ends at ${accuracy}`)
      const vanishes = end.findings.some((f) => f.what.includes('vanishes'))
      switch (preset.name) {
        case 'The published study’s network':
          assert.equal(seen.length, 20)
          assert.ok(seen[19]!.val_cost! < seen[15]!.val_cost!)
          break
        case 'A good start':
          assert.ok(seen[1]!.val_accuracy! > accuracies.get('The published study’s network')!.at(-1)!)
          break
        case 'No hidden layer':
          assert.equal(end.first?.units.length, 10)
          break
        case 'Rate far too large':
          for (const l of relus) assert.ok(l.dead > 0.9 * l.units, `${l.dead} of ${l.units}`)
          break
        case 'Rate far too small':
          for (const l of dense) assert.ok(l.update_over_weight! < 2e-6)
          break
        case 'Sigmoid, six layers deep':
          assert.ok(vanishes)
          break
        case 'Batch norm to the rescue':
          assert.ok(!vanishes)
          break
        case 'L2 penalty far too strong':
          assert.ok(Math.abs(end.cost - Math.log(10)) < 0.01)
          for (const l of dense) assert.ok(Math.max(-l.weights!.lo, l.weights!.hi) < 0.01)
          break
        case 'All weights 0 at first':
          for (const l of dense) assert.deepEqual([l.weights!.lo, l.weights!.hi], [0, 0])
          assert.deepEqual(dense.map((l) => l.gradient_norm > 0), [false, false, true])
          break
        default:
          assert.fail('what this preset says is not tested')
      }
    })
})

test('start, pause, one batch, one epoch, stop', async () => {
  const page = await studio.page()
  await studio.fresh(page, 'train', { epochs: 10_000 })
  await button(page, 'Start').click()
  await phase(page, 'training')
  await button(page, 'Pause').click()
  await phase(page, 'paused')
  const { step, steps_per_epoch: perEpoch } = (await everything()).state
  await becomes(page, 'step', whole(step))
  await looksAt(page, step)
  await button(page, 'One batch').click()
  await looksAt(page, step + 1)
  assert.equal((await everything()).state.step, step + 1)
  await button(page, 'One epoch').click()
  const next = (Math.floor((step + 1) / perEpoch) + 1) * perEpoch
  await looksAt(page, next)
  await becomes(page, 'step', whole(next))
  await button(page, 'Stop').click()
  await phase(page, 'stopped')
})

test('the buttons keep the focus when a batch or a training ends, and do nothing more', async () => {
  const page = await studio.page()
  await studio.fresh(page, 'train', { epochs: 1 })
  const focused = () => page.evaluate(() => document.activeElement?.textContent)
  await button(page, 'One batch').focus()
  for (const step of [1, 2]) {
    await page.keyboard.press('Enter')
    await looksAt(page, step)
    assert.equal(await focused(), 'One batch')
  }
  await button(page, 'Start').focus()
  await page.keyboard.press('Enter')
  await phase(page, 'done')
  assert.equal(await focused(), 'Start')
  assert.equal(await button(page, 'Start').getAttribute('aria-disabled'), 'true')
  const { step } = (await everything()).state
  const asked: string[] = []
  page.on('request', (r) => asked.push(r.url()))
  await page.keyboard.press('Enter')
  await page.waitForTimeout(300)
  assert.deepEqual(asked.filter((u) => u.endsWith('/control')), [])
  assert.equal((await everything()).state.step, step)
})

test('plots wait for what can be seen in them, and are whole as soon as the training rests', async () => {
  const page = await studio.page()
  await page.addInitScript({
    content: `const Real = EventSource
      window.EventSource = class extends Real { constructor(url) { super(url); window.events = this } }`,
  })
  await studio.fresh(page, 'train', { epochs: 10_000 })
  await studio.post('control', { action: 'batch' })
  await looksAt(page, 1)
  const { state, points } = await everything()
  // The server is silent while nothing is trained: what it could say is said in its place.
  const says = (type: string, data: unknown) =>
    page.evaluate(([type, data]) => (globalThis as unknown as { events: EventTarget }).events.dispatchEvent(new MessageEvent(type, { data })), [
      type,
      JSON.stringify(data),
    ] as const)
  const reaches = async (step: number, phase: string, cost?: number) => {
    await says('state', { ...state, step, phase })
    if (cost !== undefined) await says('points', [{ ...points[0], branch: state.branch, step, train_cost: cost }])
  }
  await reaches(100_000, 'running', 1.25)
  await becomes(page, 'training cost', '1.25')
  await reaches(100_500, 'running', 1.5)
  await becomes(page, 'step', '100,500')
  assert.match(await shown(page, 'training cost'), /1\.25/)
  await reaches(103_000, 'running', 1.75)
  await becomes(page, 'training cost', '1.75')
  await reaches(103_500, 'running', 2.25)
  await reaches(103_500, 'paused')
  await becomes(page, 'training cost', '2.25')
  await reaches(104_000, 'running', 2.5)
  await page.waitForTimeout(1000)
  await reaches(104_001, 'running')
  await becomes(page, 'training cost', '2.5')
})

test('a look at the network is drawn once, however often the training is told of', async () => {
  const page = await studio.page()
  await page.addInitScript({
    content: `window.drawn = 0
      const put = CanvasRenderingContext2D.prototype.putImageData
      CanvasRenderingContext2D.prototype.putImageData = function (...all) { window.drawn++; return put.apply(this, all) }`,
  })
  let looks = 0
  page.on('response', (r) => (looks += Number(r.url().endsWith('/api/look'))))
  await studio.fresh(page, 'time', { epochs: 10_000, hidden: [20, 7, 5] })
  await button(page, 'Start').click()
  await page.waitForTimeout(4000)
  await button(page, 'Pause').click()
  await phase(page, 'paused')
  const drawn = await page.evaluate(() => (globalThis as unknown as { drawn: number }).drawn)
  assert.ok(looks >= 3, `${looks} looks`)
  assert.ok(drawn >= 20 * (looks - 1) && drawn <= 20 * looks, `${drawn} pictures of 20 units drawn for ${looks} looks`)
})

test('the learning rate can be changed while it trains, and the curves say where', async () => {
  const page = await studio.page()
  await studio.fresh(page, 'train', { epochs: 10_000, learning_rate: 0.1 })
  await button(page, 'Start').click()
  await phase(page, 'training')
  await page.waitForFunction(() => Number(document.querySelector('[data-testid=step]')!.textContent!.replace(',', '')) > 200)
  await page.getByLabel('or change it to').fill('0.05')
  await button(page, 'Change').click()
  await becomes(page, 'rate-now', '0.05')
  await becomes(page, 'rate-changes', '0.05')
  await button(page, 'Halve it').click()
  await becomes(page, 'rate-changes', '0.025')
  assert.equal((await everything()).state.phase, 'running')
  await button(page, 'Pause').click()
  await phase(page, 'paused')
  const { points } = await everything()
  const first = points.find((p) => p.learning_rate === 0.05)!
  const before = points.findLast((p) => p.step < first.step)!
  assert.match(await shown(page, 'rate-changes'), new RegExp(`0\\.05 after step ${whole(before.step)}\\b`))
  // What cannot be is refused beside the button, and nothing changes.
  await page.getByLabel('or change it to').fill('-1')
  await button(page, 'Change').click()
  await page.getByRole('form', { name: 'Change the learning rate' }).getByRole('alert').waitFor()
  assert.equal((await everything()).state.learning_rate, 0.025)
})

test('a rate that is changed between two points of the curves is told with its step', async () => {
  const page = await studio.page()
  await studio.fresh(page, 'train', { epochs: 3, learning_rate: 0.1 })
  for (let i = 0; i < 5; i++) await studio.post('control', { action: 'batch' })
  await page.getByLabel('or change it to').fill('0.5')
  await button(page, 'Change').click()
  await becomes(page, 'rate-now', '0.5')
  await button(page, 'One epoch').click()
  await becomes(page, 'rate-changes', 'after step 5')
})

test('curves, weights, histograms and findings are those of the training, at every time', async () => {
  const page = await studio.page()
  await studio.fresh(page, 'train', { epochs: 2, normalisation: 'batch' })
  await button(page, 'Start').click()
  await phase(page, 'done')
  const { state, points, snapshots } = await everything()
  await page.locator(`input[type=range][max="${snapshots.length}"]`).waitFor()

  const shows = async (at: number, step: number) => {
    await looksAt(page, step)
    const want = await look(at)
    assert.equal(want.step, step)
    const text = await shown(page, 'look')
    assert.ok(text.includes(number(want.cost)) && text.includes(percent(want.accuracy)), `${text}: want ${want.cost}, ${want.accuracy}`)
    await counted(page.getByRole('img', { name: /^incoming weights of unit/ }), state.settings.hidden[0]!)
    await counted(page.getByRole('listitem').filter({ has: page.getByText('gradients of outputs') }), state.layers.length)
    for (const l of want.layers) {
      const one = page.getByTestId(`layer ${l.layer}`)
      const histograms = [l.output, l.gradient, ...(l.weights ? [l.weights] : [])]
      for (const [i, h] of histograms.entries()) {
        const name = await one.getByRole('img').nth(i).getAttribute('aria-label')
        assert.ok(name!.endsWith(`from ${number(h.lo, 3)} to ${number(h.hi, 3)}`), name!)
      }
      if (state.layers[l.layer - 1]!.parameters > 0) assert.equal(await one.getByTestId('gradient norm').innerText(), number(l.gradient_norm, 3))
    }
    await counted(page.getByTestId('findings').getByRole('listitem'), want.findings.length)
    const seen = points.filter((p) => p.step <= step)
    assert.equal(await page.getByTestId('training cost').locator('b').innerText(), number(seen.at(-1)?.train_cost))
    assert.equal(await page.getByTestId('validation accuracy').locator('b').innerText(), percent(seen.findLast((p) => p.val_cost !== null)?.val_accuracy))
    return text
  }
  const end = await shows(-1, state.step)
  for (const name of ['Cost', 'Accuracy']) {
    const drawn = await page.getByRole('img', { name: `${name} over steps` }).locator('canvas').evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
      return data.some((v) => v > 0)
    })
    assert.ok(drawn, `${name} is drawn`)
  }
  const time = page.getByLabel('Time', { exact: true })
  await time.focus()
  await page.keyboard.press('Home')
  const begin = await shows(snapshots[0]!.id, 0)
  assert.notEqual(begin, end)
  for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowRight')
  await shows(snapshots[5]!.id, snapshots[5]!.step)
  await button(page, 'Now').click()
  await shows(-1, state.step)
})

test('it can be read by everyone, and fits', async () => {
  for (const dark of [false, true])
    for (const width of [360, 768, 1280]) {
      const page = await studio.page({ width, dark })
      const where = `Train, ${width} px, ${dark ? 'dark' : 'light'}`
      await studio.fresh(page, 'train', { epochs: 2, activation: 'sigmoid', hidden: [20, 20, 20, 20, 20, 20] })
      await accessible(page, `${where}, the form`)
      await fits(page, `${where}, the form`)
      await studio.post('rate', { learning_rate: 0.5 })
      const { state } = await finish()
      await looksAt(page, state.step)
      await button(page, 'Other settings').click()
      await button(page, 'Use these settings').click()
      await accessible(page, where)
      await fits(page, where)
        }
})

/** Says to a page that it can be seen, or not: Playwright shows all pages at once. */
const seen = (page: Page, visible: boolean) =>
  page.evaluate(`Object.defineProperty(document, 'visibilityState', { configurable: true, value: '${visible ? 'visible' : 'hidden'}' })
    document.dispatchEvent(new Event('visibilitychange'))`)

test('many tabs are served, since those that cannot be seen give up their connection', async () => {
  const first = await studio.page()
  await studio.fresh(first, 'train')
  let last = first
  for (let i = 0; i < 8; i++) {
    await seen(last, false)
    last = await first.context().newPage()
    await last.goto(studio.url)
    await phase(last, 'ready')
  }
  const { state } = await finish()
  await phase(last, 'done')
  await phase(first, 'ready') // it has not been told
  await seen(last, false)
  await seen(first, true)
  await phase(first, 'done')
  await becomes(first, 'step', whole(state.step))
})

test('a page without a connection says what may be the matter', async () => {
  const page = await studio.page()
  await page.route('**/api/events', () => {}) // never answered
  await page.goto(studio.url)
  await page.getByRole('status').filter({ hasText: 'There is no answer yet' }).waitFor()
})

test('a page whose stream is refused shows what there is, and tries again', async () => {
  const page = await studio.page()
  let refused = 0
  await page.route('**/api/events', (route) => (refused++ === 0 ? route.fulfill({ status: 429 }) : route.continue()))
  await page.goto(studio.url)
  const facts = page.getByTestId('facts')
  await facts.getByText('not connected').waitFor()
  await facts.getByText('not connected').waitFor({ state: 'detached' })
  assert.equal(refused, 2)
})

test('it is said when other digits stand in for MNIST', async () => {
  const page = await studio.page()
  await page.goto(studio.url)
  await page.getByText('Choose settings, use them, and start.').or(page.getByTestId('in-use')).waitFor()
  assert.equal(await page.getByTestId('fallback').count(), 0)
  await page.route('**/api/events', (route) => route.fulfill({ status: 429 }))
  await page.route('**/api/state', async (route) => {
    const answer = await route.fetch()
    const all = (await answer.json()) as { state: State }
    await route.fulfill({ response: answer, json: { ...all, state: { ...all.state, fallback: true } } })
  })
  await page.reload()
  await page.getByTestId('fallback').getByText('MNIST was not found').waitFor()
})
