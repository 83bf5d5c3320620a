import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import type { Everything, Look, Point } from '../src/lib/api.ts'
import { number, percent, whole } from '../src/lib/show.ts'
import { accessible, counted, fits, Studio } from './studio.ts'

let studio: Studio
before(async () => (studio = await Studio.open()))
after(() => studio.close())
afterEach(async () => {
  for (const context of studio.browser.contexts()) await context.close()
  await studio.post('control', { action: 'pause' })
})

const everything = () => studio.get('state') as Promise<Everything>
const phase = (page: Page, words: string) => page.getByTestId('phase').getByText(words, { exact: true }).waitFor()
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true })
const map = (page: Page) => page.getByRole('slider', { name: 'Snapshot' })
const seesStep = (page: Page, side: 'then' | 'now', step: number) => page.locator(`[data-testid=${side}][data-step="${step}"]`).waitFor()

/** A training of two epochs, at its end, in the time machine. */
async function trained(page: Page, settings: object = {}): Promise<Everything> {
  await studio.fresh(page, 'time', { epochs: 2, ...settings })
  return runOn(page)
}

/** Picks the snapshot at the end of the first epoch with the keyboard. */
async function pick(page: Page, all: Everything): Promise<number> {
  const step = all.state.steps_per_epoch
  const place = all.snapshots.findIndex((s) => s.branch === 0 && s.step === step)
  await map(page).focus()
  for (const _ of (await everything()).branches) await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Home')
  for (let i = 0; i < place; i++) await page.keyboard.press('ArrowRight')
  await page.getByTestId('picked').getByText(`looking at step ${whole(step)} of branch 0`).waitFor()
  return step
}

/** Trains to the end of the settings' epochs, and waits until the page has all snapshots. */
async function runOn(page: Page): Promise<Everything> {
  await button(page, 'Start').click()
  await phase(page, 'done')
  const all = await everything()
  await page.locator(`input[type=range][max="${all.snapshots.length}"]`).waitFor()
  return all
}

const figures = (points: Point[]) => points.map(({ branch: _, ...rest }) => rest)

test('a snapshot shows the network as it was, beside what it is now', async () => {
  const page = await studio.page()
  const all = await trained(page)
  await seesStep(page, 'now', all.state.step)
  assert.equal(await page.getByTestId('then').count(), 0)
  const step = await pick(page, all)
  await seesStep(page, 'then', step)
  const id = all.snapshots.find((s) => s.step === step)!.id
  for (const [side, at] of [['then', id], ['now', -1]] as const) {
    const look = (await studio.post('look', { at })) as Look
    const text = await page.getByTestId(side).innerText()
    assert.ok(text.includes(number(look.cost)) && text.includes(percent(look.accuracy)), `${side}: ${text}; want ${look.cost}, ${look.accuracy}`)
    const images = page.getByTestId(side).getByRole('img', { name: /^incoming weights of unit/ })
    await counted(images, all.state.settings.hidden[0]!)
  }
  const image = (side: string) =>
    page.getByTestId(side).getByRole('img', { name: 'incoming weights of unit 3' }).evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL())
  assert.notEqual(await image('then'), await image('now'))

  // The slider of the bar, the curves and the map are one.
  assert.equal(await page.getByLabel('Time', { exact: true }).getAttribute('aria-valuetext'), `step ${step}`)
  const seen = all.points.filter((p) => p.step <= step)
  assert.equal(await page.getByTestId('training cost').locator('b').innerText(), number(seen.at(-1)!.train_cost))
  await map(page).focus()
  await page.keyboard.press('Escape')
  await page.getByTestId('picked').getByText('looking at now').waitFor()

  // A click on the map or on a curve picks what is closest: here, what is farthest left.
  await map(page).click({ position: { x: 2, y: 30 } })
  await page.getByTestId('picked').getByText('looking at step 0 of branch 0').waitFor()
  const plot = page.getByRole('img', { name: 'Cost over steps' }).locator('.u-over')
  const box = (await plot.boundingBox())!
  await plot.click({ position: { x: box.width - 2, y: box.height / 2 } })
  await page.getByTestId('picked').getByText(`looking at step ${whole(all.state.step)} of branch 0`).waitFor()
})

test('the same seed again gives the same bits', async () => {
  const page = await studio.page()
  const all = await trained(page)
  const step = await pick(page, all)
  await button(page, 'Same seed again').click()
  await page.getByTestId('picked').getByText(`looking at now: step ${whole(step)} of branch 1`).waitFor()
  const { points, branches, state } = await runOn(page)
  assert.equal(branches[1]!.change, 'nothing changed')
  assert.equal(branches[1]!.settings.seed, branches[0]!.settings.seed)
  const own = points.filter((p) => p.branch === 1)
  assert.ok(own.length > 3)
  assert.deepEqual(figures(own), figures(points.filter((p) => p.branch === 0 && p.step > step)))
  await page.getByTestId('agreement').getByText(`= equal to the last bit at the ${own.length} points`).waitFor()
  await page.getByTestId('branch 1').getByText(whole(state.step)).waitFor()
})

test('a new seed takes the examples in another order', async () => {
  const page = await studio.page()
  const all = await trained(page)
  const step = await pick(page, all)
  await button(page, 'A new seed').click()
  await phase(page, 'paused')
  const { points, branches } = await runOn(page)
  assert.equal(branches[1]!.change, 'another order of the examples')
  assert.equal(branches[1]!.settings.seed, branches[0]!.settings.seed + 1)
  const own = points.filter((p) => p.branch === 1)
  const parent = points.filter((p) => p.branch === 0 && p.step > step)
  assert.deepEqual(own.map((p) => p.step), parent.map((p) => p.step))
  assert.ok(own.every((p, i) => p.train_cost !== parent[i]!.train_cost))
  assert.equal(await page.getByTestId('agreement').count(), 0)
})

test('a branch changes one thing, and the map says which', async () => {
  const page = await studio.page()
  const all = await trained(page)
  const changes: [string, string, string][] = [
    ['Learning rate', '0.02', 'learning rate 0.02'],
    ['L2 penalty λ', '0.01', 'L2 0.01'],
    ['Batch size', '64', 'batches of 64'],
    ['Epochs', '3', '3 epochs'],
  ]
  for (const [i, [name, value, change]] of changes.entries()) {
    const step = await pick(page, all)
    await page.getByRole('radio', { name }).check()
    await page.getByLabel('New value').fill(value)
    await button(page, 'Branch with it').click()
    await page.getByTestId(`branch ${i + 1}`).getByText(change, { exact: true }).waitFor()
    await page.getByTestId('picked').getByText(`looking at now: step ${whole(step)} of branch ${i + 1}`).waitFor()
    const { branches, state } = await everything()
    assert.deepEqual([state.branch, state.step, state.phase], [i + 1, step, 'paused'])
    assert.deepEqual([branches[i + 1]!.parent, branches[i + 1]!.step, branches[i + 1]!.change], [0, step, change])
    assert.equal(await map(page).getByText(change, { exact: false }).count(), 1)
    if (i === 0) {
      await runOn(page)
      await page.getByTestId('rate-changes').getByText('0.02').waitFor()
    }
  }
  // What cannot be is refused beside the buttons.
  await pick(page, all)
  await page.getByRole('radio', { name: 'Learning rate' }).check()
  await page.getByLabel('New value').fill('-1')
  await button(page, 'Branch with it').click()
  await page.getByRole('region', { name: 'Go back and branch' }).getByRole('alert').getByText('Learning rate = -1').waitFor()
  assert.equal((await everything()).branches.length, changes.length + 1)
})

test('the arrows lead from branch to branch', async () => {
  const page = await studio.page()
  const all = await trained(page)
  const step = await pick(page, all)
  await button(page, 'Same seed again').click()
  await page.getByTestId('branch 1').waitFor()
  await runOn(page)
  const said = (text: string) => page.getByTestId('picked').getByText(text).waitFor()
  await map(page).focus()
  await page.keyboard.press('Home')
  await said(`looking at step ${whole(step)} of branch 1`)
  await page.keyboard.press('ArrowUp')
  await said(`looking at step ${whole(step)} of branch 0`)
  await page.keyboard.press('End')
  await said(`looking at step ${whole(all.state.step)} of branch 0`)
  await page.keyboard.press('ArrowDown')
  await said(`looking at step ${whole(all.state.step)} of branch 1`)
})

test('it can be read by everyone, and fits', async () => {
  for (const dark of [false, true])
    for (const width of [360, 768, 1280]) {
      const page = await studio.page({ width, dark })
      const where = `Time machine, ${width} px, ${dark ? 'dark' : 'light'}`
      const all = await trained(page)
      const ids = all.snapshots.map((s) => s.id)
      await studio.post('branch', { snapshot: ids[4], settings: { learning_rate: 0.3 } })
      await studio.post('branch', { snapshot: ids[9], settings: {} })
      await page.getByTestId('branch 2').waitFor()
      await runOn(page)
      const step = await pick(page, all)
      await seesStep(page, 'then', step)
      await accessible(page, where)
      await fits(page, where)
        }
})
