// See through: a digit goes through the network; every number of the step opens.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import type { Opened, Param, Seen, State } from '../src/lib/api.ts'
import { number } from '../src/lib/show.ts'
import { accessible, counted, fits, Studio } from './studio.ts'

let studio: Studio
before(async () => (studio = await Studio.open()))
after(() => studio.close())

let trained = ''

/** A page that sees a digit through a network after an epoch, and the step that it recorded. */
async function see(settings: object = {}, options: Parameters<Studio['page']>[0] = {}): Promise<{ page: Page; seen: Seen }> {
  const page = await studio.page(options)
  if (trained === JSON.stringify(settings)) {
    await page.goto(studio.url)
  } else {
    await studio.fresh(page, 'train', { epochs: 1, ...settings })
    await studio.post('control', { action: 'epoch' })
    trained = JSON.stringify(settings)
  }
  await page.getByTestId('phase').getByText('done').waitFor({ timeout: 60_000 })
  const seen = await recorded(page, () => page.goto(`${studio.url}#see/test/5`))
  await page.locator('[data-testid="picture"][aria-busy="false"]').waitFor()
  return { page, seen }
}

/** The step that something makes the page record. */
async function recorded(page: Page, f: () => Promise<unknown>): Promise<Seen> {
  const answer = page.waitForResponse((r) => r.url().endsWith('/api/see') && r.ok())
  await f()
  const seen = (await (await answer).json()) as Seen
  await page.getByTestId('seen').getByText(whose(seen)).waitFor()
  return seen
}
const whose = (seen: Seen): RegExp => new RegExp(`(example ${seen.example.toLocaleString('en-US')}|drawn digit)[^.]*recorded at step ${seen.step.toLocaleString('en-US')} `)

const tile = (page: Page, ref: string) => page.locator(`[data-ref="${ref}"]`)
const opened = (page: Page) => page.getByTestId('opened')
const open = (seen: Seen, ref: string, convention = 'rows', full = false) => studio.post('open', { id: seen.id, ref, convention, full }) as Promise<Opened>

/** What is opened on the page must be what the server says about the ref. */
async function shows(page: Page, seen: Seen, ref: string, convention = 'rows', full = false): Promise<Opened> {
  const want = await open(seen, ref, convention, full)
  await opened(page).getByRole('heading', { level: 3 }).filter({ hasText: new RegExp(`^${escaped(want.what)}$`, 'i') }).waitFor()
  assert.equal(await page.getByTestId('value').textContent(), number(want.value, full ? 12 : 5), ref)
  return want
}
const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

async function type(page: Page, ref: string): Promise<void> {
  await page.getByLabel('Open any number').fill(ref)
  await page.getByRole('button', { name: 'Open', exact: true }).click()
}

const caption = (page: Page, text: string) => page.getByTestId('caption').getByText(text).waitFor()
const phase = (page: Page, name: string) => page.getByRole('group', { name: 'Phase' }).getByRole('button', { name }).click()

test('forward, backward and update show the numbers of the step', async () => {
  const { page, seen } = await see()
  assert.equal(seen.rows, 1)
  const say = async (ref: string): Promise<string> => (await tile(page, ref).locator('b').textContent())!

  await phase(page, 'Forward')
  await caption(page, 'Forward 1 of 9: The digit.')
  assert.equal(await say('1:0'), '·')
  await page.getByRole('button', { name: 'Step' }).click()
  await caption(page, 'Forward 2 of 9: Layer 1, dense.')
  assert.equal(await say('1:0'), number(seen.layers[0]!.output[0], 2))
  assert.equal(await say('2:0'), '·')
  await page.getByRole('slider', { name: 'Place' }).fill('8')
  await caption(page, 'Forward 9 of 9')
  for (const l of seen.layers) for (const [u, v] of l.output.entries()) assert.equal(await say(`${l.layer}:${u}`), number(v, 2))
  assert.equal(await say('loss'), number(seen.loss, 3))

  await phase(page, 'Backward')
  await caption(page, 'Backward 1 of 7: Layer 7, dense.')
  for (const [u, v] of seen.layers[6]!.gradient.entries()) assert.equal(await say(`grad(7:${u})`), number(v, 2))
  assert.equal(await tile(page, 'grad(6:0)').count(), 0)
  await page.getByRole('button', { name: 'Step' }).click()
  assert.equal(await say('grad(6:0)'), number(seen.layers[5]!.gradient[0], 2))

  await phase(page, 'Update')
  await caption(page, 'Update 1 of 5: Layer 1, dense.')
  const bias = (await studio.post('param', { id: seen.id, name: '1.dense.bias', unit: null })) as Param
  for (const [u, v] of bias.after.entries()) assert.equal(await say(`after(1.dense.bias:${u})`), number(v - bias.before[u]!, 2))
  await page.getByTestId('costs').getByText(`${number(seen.cost)} → ${number(seen.cost_after)}`).waitFor()
  await page.context().close()
})

test('plays by itself, and by the arrow keys', async () => {
  const { page } = await see({}, { reduced: true })
  await phase(page, 'Forward')
  await page.getByRole('button', { name: 'Play' }).click()
  await caption(page, 'Forward 3 of 9')
  await page.getByRole('button', { name: 'Pause' }).click()
  await phase(page, 'Backward')
  await page.getByTestId('picture').focus()
  await page.keyboard.press('ArrowRight')
  await caption(page, 'Backward 2 of 7')
  await page.keyboard.press('ArrowLeft')
  await page.keyboard.press('ArrowLeft')
  await caption(page, 'Forward 9 of 9')

  await tile(page, '3:0').focus()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Enter')
  await page.getByText('Activation of unit 1 of layer 4').waitFor()
  await page.context().close()
})

test('a unit, an edge and a gradient open, with formulas, and lead on', async () => {
  const { page, seen } = await see()
  await tile(page, '3:4').click()
  const unit = await shows(page, seen, '3:4')
  const law = page.getByTestId('law').locator('math')
  assert.match((await law.allTextContents()).join(''), /z.*∑.*W/)
  await counted(page.getByTestId('law').locator('msub'), 4)

  const terms = page.getByTestId('contributions').getByRole('listitem')
  assert.equal(await terms.first().locator('b').textContent(), number(unit.contributions[0]!.value))
  const weight = unit.contributions.flatMap((c) => c.of).find((of) => of.includes('weight'))!
  await terms.getByRole('button', { name: /^weight/ }).first().click()
  await shows(page, seen, weight)
  await opened(page).getByRole('button', { name: 'gradient', exact: true }).click()
  await shows(page, seen, `grad(${weight})`)
  await opened(page).getByRole('button', { name: 'after', exact: true }).click()
  await shows(page, seen, `after(${weight})`)
  await page.getByRole('button', { name: '← Back' }).click()
  await shows(page, seen, `grad(${weight})`)
  await page.getByRole('navigation', { name: 'Opened before' }).getByRole('button', { name: /^unit 4/ }).click()
  await shows(page, seen, '3:4')

  await type(page, '4:4')
  await shows(page, seen, '4:4')
  await page.getByTestId('outgoing').getByRole('button', { name: /^weight/ }).first().click()
  await opened(page).getByText('weight of layer 5 from input 4', { exact: false }).first().waitFor()

  for (const ref of ['p:3', 'loss', 'cost', 'penalty', 'total', 'x:345', '1.dense.weight:345,4', 'grad(2:5)', 'after(1.dense.bias:4)', 'grad(7.dense.weight:2,1)']) {
    await type(page, ref)
    await shows(page, seen, ref)
  }
  await type(page, '9:9')
  await page.getByRole('alert').getByText('layer 9').waitFor()
  await page.context().close()
})

test('an edge opens where it is drawn', async () => {
  const { page } = await see()
  const canvas = page.getByTestId('picture').locator('canvas[aria-hidden]')
  const all = (await canvas.boundingBox())!
  const from = (await tile(page, '2:9').boundingBox())!
  const to = (await tile(page, '3:3').boundingBox())!
  const position = { x: (from.x + from.width + to.x) / 2 - all.x, y: (from.y + to.y + from.height) / 2 - all.y }
  await canvas.hover({ position })
  await page.getByTestId('picture').getByText(/\d+ → \d+: weight/).waitFor()
  await canvas.click({ position })
  await opened(page).getByRole('heading', { name: /^Weight of layer 3 from input/ }).waitFor()
  await page.context().close()
})

test('the finite difference says that the gradients are right', async () => {
  const { page, seen } = await see()
  for (const ref of ['grad(7.dense.weight:0,1)', 'grad(7:1)', '1.dense.bias:2']) {
    await type(page, ref)
    await shows(page, seen, ref)
    await page.getByRole('button', { name: 'Check the gradient' }).click()
    const verdict = ref.includes('7') ? /They agree: the gradient is right/ : /They agree: the gradient is right|Nothing can be said here/ // no ReLU after layer 7
    await page.getByTestId('check').getByText(verdict).waitFor()
  }
  await type(page, 'loss')
  await shows(page, seen, 'loss')
  assert.equal(await page.getByRole('button', { name: 'Check the gradient' }).count(), 0)
  await page.context().close()
})

test('a unit of the first layer opens over the pixels, and each pixel of it', async () => {
  const { page, seen } = await see()
  await tile(page, '1:3').click()
  await shows(page, seen, '1:3')
  const map = page.getByRole('button', { name: /^gradient of unit 3/ })
  await map.focus()
  for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Enter')
  await shows(page, seen, 'grad(1.dense.weight:3,3)')
  await page.getByRole('button', { name: /^The digit/ }).click({ position: { x: 40, y: 40 } })
  await opened(page).getByRole('heading', { name: /^Pixel \d+/ }).waitFor()
  await page.context().close()
})

test('columns as examples, all digits and terms', async () => {
  const { page, seen } = await see()
  await tile(page, '1:3').click()
  await shows(page, seen, '1:3')
  await page.getByRole('button', { name: 'columns' }).click()
  const columns = await open(seen, '1:3', 'columns')
  await page.getByTestId('law').getByText('z', { exact: false }).first().waitFor()
  await page.waitForFunction((n) => document.querySelectorAll('[data-testid="law"] msub').length === n, 4)
  assert.match(columns.law, /W\[j, p\]·a\[p, i\]/)
  await page.waitForFunction(() => /W.*a/.test(document.querySelector('[data-testid="law"]')!.textContent!))
  await page.getByLabel('all digits and terms').check()
  await page.getByTestId('value').getByText(number(columns.value, 12), { exact: true }).waitFor()
  const whole = await open(seen, '1:3', 'columns', true)
  const terms = whole.formula.split(' + ').length
  assert.ok(terms > 20, `${terms} terms`)
  // The value has all its digits at once; the formula comes with the server's answer.
  await counted(page.getByTestId('formula').locator('math'), terms)
  // One for each pixel that is not 0, and the bias.
  assert.equal(await page.getByTestId('zeros').textContent(), `${784 + 1 - terms} terms are left out: their pixels are 0`)
  // Where all pixels are 0, their terms say so.
  await type(page, 'grad(1.dense.weight:0,3)')
  assert.match((await shows(page, seen, 'grad(1.dense.weight:0,3)', 'columns', true)).formula, /·0$/)
  await counted(page.getByTestId('zeros'), 0)
  await page.context().close()
})

test('batch normalisation opens', async () => {
  const { page, seen } = await see({ normalisation: 'batch', l2: 1e-4 })
  assert.equal(seen.rows, 128)
  await tile(page, '2:5').click()
  await shows(page, seen, '2:5')
  const parts = { mean: 'mean', variance: 'variance', 'x̂': 'x_hat', '1/σ': 'inverse_std', gamma: 'gamma', beta: 'beta', 'running mean': 'running_mean', 'running variance': 'running_variance' }
  for (const [name, part] of Object.entries(parts)) {
    await opened(page).getByRole('button', { name, exact: true }).first().click()
    await shows(page, seen, `2.batch_norm.${part}:5`)
  }
  await type(page, 'grad(1:5)')
  const through = await shows(page, seen, 'grad(1:5)')
  assert.equal(through.contributions.length, 3) // directly, through the mean, through the variance
  await counted(page.getByTestId('contributions').getByRole('listitem'), 3)
  await page.getByRole('button', { name: 'Check the gradient' }).click()
  await page.getByTestId('check').getByText(/They agree|Nothing can be said/).waitFor()
  await page.getByTestId('as-in-training').getByText('mean and variance of these 128 examples').waitFor()
  await type(page, 'after(2.batch_norm.running_variance:5)')
  await shows(page, seen, 'after(2.batch_norm.running_variance:5)')
  assert.ok(seen.penalty > 0)
  await page.context().close()
})

test('numbers that cannot be are told, and told no more when they can', async () => {
  const { page } = await see()
  const batch = page.getByLabel('Examples in the step')
  await type(page, 'loss@5')
  await page.getByRole('alert').getByText('example 5, want 0 to 0').waitFor()
  await batch.fill('100000')
  await batch.press('Enter')
  await page.getByText('A step to see through has 1 to 256 examples.').waitFor()
  assert.equal(await batch.inputValue(), '1')
  await batch.fill('64')
  await recorded(page, () => batch.press('Enter'))
  await counted(page.getByRole('alert'), 0)
  const example = page.getByLabel(/^Example of/)
  await example.fill('-1')
  await example.press('Enter')
  await page.getByText('Examples of this set are 0 to 9,999.').waitFor()
  assert.equal(await example.inputValue(), '5')
  assert.equal(await page.getByTestId('as-in-training').count(), 0)
})

test('a narrow window shows the name of the view that is open', async () => {
  const { page } = await see({}, { width: 390 })
  await page.goto(`${studio.url}#learn`)
  const box = (await page.getByRole('link', { name: 'Learn', exact: true }).first().boundingBox())!
  assert.ok(box.x >= 0 && box.x + box.width <= 391, JSON.stringify(box))
})

test('a large network stays legible', async () => {
  const { page, seen } = await see({ hidden: [512, 256], epochs: 1, batch: 1000 })
  await counted(page.locator('[data-layer="1"]'), 16)
  const strongest = seen.layers[2]!.output.map((v, u) => [Math.abs(v), u] as const).sort((a, b) => b[0] - a[0])[0]![1]
  await tile(page, `3:${strongest}`).click()
  await shows(page, seen, `3:${strongest}`)
  await page.getByTestId('contributions').getByRole('listitem').first().waitFor()
  const began = performance.now()
  await page.getByRole('button', { name: /^4 ReLU: a of 256 units/ }).focus()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Enter')
  await opened(page).getByRole('heading', { name: /of unit \d+ of layer 4/ }).waitFor()
  assert.ok(performance.now() - began < 2000, 'opens within two seconds')
  const nodes = await page.evaluate(() => document.querySelectorAll('*').length)
  assert.ok(nodes < 3000, `${nodes} nodes`)
  await fits(page, 'a large network')
  await page.context().close()
})

test('the digit is chosen by number, class and mistake, and at a time', async () => {
  const { page } = await see()
  const next = await recorded(page, () => page.getByRole('button', { name: 'Next example' }).click())
  assert.equal(next.example, 6)
  assert.match(page.url(), /#see\/test\/6$/)
  await page.getByLabel('Class', { exact: true }).first().selectOption('7')
  const seven = await recorded(page, () => page.getByRole('button', { name: 'Next 7' }).click())
  assert.equal(seven.label, 7)
  const mistake = await recorded(page, () => page.getByRole('button', { name: 'Next mistake' }).click())
  assert.notEqual(mistake.label, mistake.predicted)
  const other = await recorded(page, () => page.getByRole('button', { name: 'Next mistake' }).click())
  assert.notEqual(other.example, mistake.example)
  const train = await recorded(page, () => page.getByRole('combobox', { name: 'Digits' }).selectOption('train'))
  assert.equal(train.example, 0)
  const batch = await recorded(page, () => page.getByRole('combobox', { name: 'Digits' }).selectOption('next'))
  assert.equal(batch.rows, 128)
  const many = await recorded(page, async () => {
    await page.getByLabel('Examples in the step').fill('32')
    await page.getByLabel('Examples in the step').press('Enter')
  })
  assert.equal(many.rows, 32)
  const first = await recorded(page, () => page.getByRole('slider', { name: 'Time' }).fill('0'))
  assert.equal(first.step, 0)
  await page.context().close()
})

test('a drawn digit opens', async () => {
  const { page } = await see()
  await page.goto(`${studio.url}#see/drawn`)
  await page.getByText('Nothing has been drawn yet').waitFor()
  await page.goto(`${studio.url}#draw`)
  const box = (await page.getByLabel(/^Pad/).boundingBox())!
  await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.2)
  await page.mouse.down()
  for (let i = 0; i < 10; i++) await page.mouse.move(box.x + box.width / 2, box.y + box.height * (0.2 + 0.06 * i))
  await page.mouse.up()
  const seen = await recorded(page, () => page.getByRole('button', { name: 'See through it' }).click())
  await page.getByTestId('seen').getByText('The drawn digit').waitFor()
  await tile(page, '2:3').click()
  await shows(page, seen, '2:3')
  await page.context().close()
})

test('while the training runs, a new step is recorded only when asked for', async () => {
  trained = ''
  const page = await studio.page()
  await studio.fresh(page, 'see/test/1', { epochs: 1000 })
  let asked = 0
  page.on('request', (r) => { if (r.url().endsWith('/api/see')) asked++ })
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await page.getByTestId('seen').getByText('The training is at step').waitFor()
  const before = asked
  const { step } = ((await studio.get('state')) as { state: State }).state
  await page.waitForFunction((s) => Number(document.querySelector('[data-testid="step"]')!.textContent!.replace(',', '')) > s + 100, step)
  assert.equal(asked, before)
  const newest = await recorded(page, () => page.getByRole('button', { name: 'See the newest' }).click())
  assert.ok(newest.step > step)
  await studio.post('control', { action: 'pause' })
  await page.context().close()
})

test('the images that excite a unit, and which pixels speak', async () => {
  const { page, seen } = await see()
  await tile(page, '2:3').click()
  await shows(page, seen, '2:3')
  await page.getByText('Test images that excite this unit most').click()
  await page.getByTestId('activating').getByRole('link').nth(11).waitFor()
  await counted(page.getByTestId('saliency').getByRole('img'), 4)
  const link = page.getByTestId('activating').getByRole('link').first()
  const example = Number(/(\d+)$/.exec((await link.getAttribute('href'))!)![1])
  const exciting = await recorded(page, () => link.click())
  assert.equal(exciting.example, example)
  await page.context().close()
})

for (const dark of [false, true]) {
  test(`accessible, and fits: ${dark ? 'dark' : 'light'}`, async () => {
    const { page } = await see({}, { dark, reduced: true })
    for (const width of [360, 768, 1280]) {
      await page.setViewportSize({ width, height: 900 })
      for (const [name, ref] of [['Forward', '1:3'], ['Backward', 'grad(5:1)'], ['Update', 'after(1.dense.weight:345,4)']] as const) {
        await phase(page, name)
        await type(page, ref)
        await opened(page).getByRole('heading', { level: 3 }).waitFor()
        const where = `${name} at ${width}`
        await accessible(page, where)
        await fits(page, where)
      }
    }
    await page.context().close()
  })
}
