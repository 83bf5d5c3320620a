import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import type { Everything, Mistakes } from '../src/lib/api.ts'
import { number, percent, whole } from '../src/lib/show.ts'
import { accessible, counted, fits, Studio } from './studio.ts'

let studio: Studio
let page: Page
before(async () => {
  studio = await Studio.open()
  page = await studio.page()
})
after(() => studio.close())

const minutes = { timeout: 300_000 }

const ask = (what: object = {}) =>
  studio.post('mistakes', { at: -1, label: null, predicted: null, mistaken: true, order: 'most', ...what }) as Promise<Mistakes>

const matrix = (p: Page = page) => p.getByRole('table', { name: /^Confusion matrix/ })
const images = (p: Page = page) => p.getByRole('list', { name: 'Images' }).getByRole('link')

async function trained(p: Page = page): Promise<void> {
  await studio.fresh(p, 'mistakes')
  await studio.post('control', { action: 'start' })
  await p.getByTestId('phase').getByText('done').waitFor()
  await settled(p)
}

/** Waits until the page shows what it is to show. */
async function settled(p: Page = page): Promise<void> {
  await p.locator('section.images[aria-busy="false"]').waitFor()
}

async function counts(): Promise<number[][]> {
  const rows = await matrix().locator('tbody tr').all()
  return Promise.all(rows.map(async (row) => (await row.getByRole('button').allInnerTexts()).map(Number)))
}

test('without a network the view says what to do', async () => {
  await page.goto(`${studio.url}#mistakes`)
  await page.getByText('No network yet').waitFor()
  await page.getByRole('main').getByRole('link', { name: 'Train' }).waitFor()
})

test('the matrix is the server’s, and counts every test example once', minutes, async () => {
  await trained()
  const said = await ask()
  const shown = await counts()
  assert.deepEqual(shown, said.confusion)
  const { state } = (await studio.get('state')) as Everything
  assert.equal(shown.flat().reduce((a, b) => a + b, 0), state.examples[2])
  const right = shown.reduce((sum, row, c) => sum + row[c]!, 0)
  assert.equal(await page.getByTestId('mistaken').innerText(), whole(said.examples - right))
  assert.equal(await page.getByTestId('accuracy').innerText(), percent(right / said.examples, 2))
  assert.equal(await page.getByTestId('cost').innerText(), number(said.cost))
  // The pairs in words are the largest numbers off the diagonal.
  const largest = shown.flatMap((row, label) => row.filter((_, predicted) => predicted !== label)).sort((a, b) => b - a)
  const pairs = await page.getByRole('region', { name: 'Most often mistaken' }).getByRole('listitem').allInnerTexts()
  assert.deepEqual(pairs.map((t) => Number(/(\d+) of/.exec(t.replaceAll(',', ''))![1])), largest.slice(0, pairs.length))
})

/** What the images say: example, label, prediction, confidence. */
async function told(): Promise<string[]> {
  const links = await images().all()
  return Promise.all(links.map(async (l) => `${await l.getAttribute('href')} ${(await l.innerText()).replace(/\s+/g, ' ').trim()}`))
}

const asTold = (m: Mistakes['shown'][number]) => `#see/test/${m.example} ${m.label} → ${m.predicted} ${percent(m.confidence)}`

test('a cell opens its images, in either order, and one opens in See through', minutes, async () => {
  await trained()
  const all = await ask()
  assert.deepEqual(await told(), all.shown.slice(0, 48).map(asTold))

  // The cell off the diagonal that holds the most.
  const cells = all.confusion.flatMap((row, label) => row.map((n, predicted) => ({ label, predicted, n })))
  const cell = cells.filter((c) => c.label !== c.predicted).sort((a, b) => b.n - a.n)[0]!
  const button = matrix().getByRole('button', { name: new RegExp(`with label ${cell.label} predicted as ${cell.predicted}$`) })
  await button.click()
  await page.getByRole('heading', { name: `${cell.label} taken for ${cell.predicted}` }).waitFor()
  await settled()
  assert.equal(await button.getAttribute('aria-pressed'), 'true')
  assert.equal(await page.getByTestId('total').innerText(), whole(cell.n))
  for (const [name, order] of [['Least sure first', 'least'], ['Most sure first', 'most']] as const) {
    const answered = page.waitForResponse((r) => r.url().endsWith('/api/mistakes') && r.request().postDataJSON().order === order)
    await page.getByRole('button', { name }).click()
    await page.waitForURL(new RegExp(`#mistakes/${cell.label}/${cell.predicted}/${order}$`))
    await answered
    await settled()
    const said = await ask({ label: cell.label, predicted: cell.predicted, mistaken: false, order })
    assert.deepEqual(await told(), said.shown.slice(0, 48).map(asTold))
  }

  await images().first().getByRole('img').waitFor()
  const href = (await images().first().getAttribute('href'))!
  await images().first().click()
  await page.waitForURL(`**/${href}`)
  // Who comes back finds the cell.
  await page.goBack()
  await page.getByRole('heading', { name: `${cell.label} taken for ${cell.predicted}` }).waitFor()
  await page.getByRole('button', { name: 'All mistakes' }).click()
  await page.getByRole('heading', { name: 'All mistakes' }).waitFor()
})

test('more images are shown on request, as many as the server tells of', minutes, async () => {
  await studio.fresh(page, 'mistakes') // which mistakes most of them
  await settled()
  const said = await ask()
  assert.equal(said.shown.length, 240)
  for (let most = 48; most <= 240; most += 48) {
    assert.equal(await images().count(), most)
    if (most < 240) await page.getByRole('button', { name: 'Show more' }).click()
  }
  assert.equal(await page.getByRole('button', { name: 'Show more' }).count(), 0)
  await images().last().scrollIntoViewIfNeeded()
  await images().last().getByRole('img').waitFor()
})

test('the arrow keys move through the matrix', minutes, async () => {
  await trained()
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute('aria-label'))
  await matrix().getByRole('button').first().focus()
  assert.match((await focused())!, /label 0 rightly predicted/)
  await page.keyboard.press('ArrowLeft')
  assert.match((await focused())!, /label 0 rightly predicted/)
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowDown')
  assert.match((await focused())!, /label 2 predicted as 1/)
  await page.keyboard.press('Enter')
  await page.waitForURL(/#mistakes\/2\/1\/most$/)
  assert.equal(await matrix().locator('[tabindex="0"]').count(), 1)
})

test('the slider moves through the epochs: the matrix is that of its time', minutes, async () => {
  await trained()
  const { snapshots, state } = (await studio.get('state')) as Everything
  const ends = snapshots.filter((s) => s.ends)
  assert.equal(ends.length, state.settings.epochs + 1)
  const slider = page.getByLabel('Epoch', { exact: true })
  assert.equal(await slider.getAttribute('aria-valuetext'), `now, step ${whole(state.step)}`)
  const now = await counts()
  await slider.press('Home')
  for (const [i, end] of ends.entries()) {
    await page.getByTestId('matrix-step').getByText(whole(end.step), { exact: true }).waitFor()
    assert.equal(await slider.getAttribute('aria-valuetext'), i === 0 ? 'before training' : `after epoch ${i}`)
    const said = await ask({ at: end.id })
    assert.deepEqual(await counts(), said.confusion)
    if (i === 0) assert.notDeepEqual(said.confusion, now)
    await slider.press('ArrowRight')
  }
  assert.equal(await slider.getAttribute('aria-valuetext'), `now, step ${whole(state.step)}`)
})

test('epochs end where they did, also on a branch whose batches are of another size', minutes, async () => {
  await trained()
  const { snapshots, state } = (await studio.get('state')) as Everything
  const second = snapshots.find((s) => s.ends && s.epoch === 2)!
  await studio.post('branch', { snapshot: second.id, settings: { batch: 50 } })
  await studio.post('control', { action: 'start' })
  // The page may still say that the training before it is done.
  let branched: Everything['state']
  do {
    await page.waitForTimeout(50)
    branched = ((await studio.get('state')) as Everything).state
  } while (branched.phase !== 'done')
  await counted(page.locator(`input[type="range"][max="${branched.settings.epochs + 1}"]`), 1)
  const steps = (branched.settings.epochs - 2) * branched.steps_per_epoch
  assert.equal(branched.step, second.step + steps)
  assert.equal(branched.last_step, branched.step)
  assert.notEqual(second.step % branched.steps_per_epoch, 0)
  const slider = page.getByLabel('Epoch', { exact: true })
  assert.equal(await slider.getAttribute('max'), String(branched.settings.epochs + 1))
  await slider.press('Home')
  const wanted = [0, state.steps_per_epoch, second.step, second.step + branched.steps_per_epoch, branched.step]
  for (const [epoch, step] of wanted.entries()) {
    await page.getByTestId('matrix-step').getByText(whole(step), { exact: true }).waitFor()
    assert.equal(await slider.getAttribute('aria-valuetext'), epoch === 0 ? 'before training' : `after epoch ${epoch}`)
    await slider.press('ArrowRight')
  }
})

test('while it trains, the matrix follows, one request at a time', minutes, async () => {
  await studio.fresh(page, 'mistakes', { epochs: 500 })
  await settled()
  const begin = await page.evaluate(() => {
    performance.clearResourceTimings()
    return performance.now()
  })
  await studio.post('control', { action: 'start' })
  const asked = await page.waitForFunction((begin) => {
    const all = performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/api/mistakes') && e.startTime > begin)
    return all.length > 2 && all.map((e) => [e.startTime, e.startTime + e.duration] as const)
  }, begin).then((handle) => handle.jsonValue() as Promise<[number, number][]>)
  for (const [i, [start]] of asked.slice(1).entries()) {
    assert.ok(start - asked[i]![0] > 1300, 'it asks more often than every second and a half')
    assert.ok(start >= asked[i]![1], 'it asks before it was answered')
  }
  await studio.post('control', { action: 'stop' })
  await page.getByTestId('phase').getByText('stopped').waitFor()
  const { state } = (await studio.get('state')) as Everything
  await page.getByTestId('matrix-step').getByText(whole(state.step), { exact: true }).waitFor()
  assert.deepEqual(await counts(), (await ask()).confusion)
})

test('it is accessible and fits, light and dark', minutes, async () => {
  for (const [width, dark] of [[1280, false], [768, true], [360, false], [360, true]] as const) {
    const p = await studio.page({ width, dark })
    await trained(p)
    await images(p).first().getByRole('img').waitFor()
    const where = `Mistakes at ${width}, ${dark ? 'dark' : 'light'}`
    await accessible(p, where)
    await fits(p, where)
    const table = matrix(p)
    assert.ok(await table.evaluate((t) => t.scrollWidth <= t.parentElement!.clientWidth), `${where}: all of the matrix is to be seen`)
    await p.context().close()
  }
})
