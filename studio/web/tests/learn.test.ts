import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import { accessible, fits, Studio } from './studio.ts'

const folder = new URL('../../../docs/learn/', import.meta.url)
const texts = readdirSync(folder)
  .filter((name) => name.endsWith('.md'))
  .toSorted()
  .map((name) => readFileSync(new URL(name, folder), 'utf8'))

let studio: Studio
let page: Page
before(async () => {
  studio = await Studio.open()
  page = await studio.page()
})
after(() => studio.close())

const bar = () => page.getByRole('region', { name: 'Task', exact: true })
const ticked = (step: number) => page.getByTestId(`step-${step}`).getByText('Done:')

/** Goes to a lesson and by one of its ways, also when the training there is lost by it. */
async function go(lesson: number, way: string): Promise<void> {
  await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: 'Learn' }).click()
  await page.getByRole('navigation', { name: 'Lessons' }).getByRole('link').nth(lesson - 1).click()
  await page.getByRole('group', { name: 'Ways there' }).getByRole('button', { name: way, exact: true }).click()
  const ask = page.getByRole('alert').getByRole('button', { name: way, exact: true })
  await page.waitForFunction(() => !location.hash.startsWith('#learn') || document.querySelector('[role=alert]') !== null)
  if (await ask.isVisible()) await ask.click()
  await page.waitForFunction(() => !location.hash.startsWith('#learn'))
}

async function train(): Promise<void> {
  await page.getByTestId('phase').getByText('ready').waitFor()
  await page.getByRole('button', { name: 'Start', exact: true }).click()
  await page.getByTestId('phase').getByText(/done|diverged/).waitFor({ timeout: 120_000 })
}

test('the six lessons are the texts of docs/learn', async () => {
  await studio.fresh(page, 'learn')
  const links = page.getByRole('navigation', { name: 'Lessons' }).getByRole('link')
  assert.equal(await links.count(), 6)
  assert.equal(texts.length, 6)
  for (const [i, text] of texts.entries()) {
    const words = text.split(/\s+/).length
    assert.ok(words >= 150 && words <= 350, `lesson ${i + 1} has ${words} words`)
    await links.nth(i).click()
    await page.getByRole('heading', { name: /^# (.*)$/m.exec(text)![1]!, exact: true }).waitFor()
    const first = text.split('\n\n')[1]!.slice(0, 60)
    await page.getByText(first).waitFor()
    await accessible(page, `lesson ${i + 1}`)
  }
})

test('a lesson is finished by doing its task', { timeout: 300_000 }, async () => {
  await studio.fresh(page, 'learn/4')
  assert.equal(await bar().count(), 0)
  await go(4, 'Set up with 0.1')
  await bar().getByText('0 of 3').waitFor()
  await train()
  await bar().getByText('1 of 3').waitFor()
  assert.match(await page.getByTestId('task-said').innerText(), /^Done: Good.* 1 of 3\.$/)

  // What is done survives a reload, and the lesson goes on.
  await page.reload()
  await bar().getByText('1 of 3').waitFor()

  // A training is not lost without a question.
  await bar().getByRole('link', { name: 'Lesson 4: The learning rate' }).click()
  await ticked(2).waitFor()
  await page.getByRole('button', { name: 'Set up with 10' }).click()
  await page.getByRole('button', { name: 'Keep the training' }).click()
  await page.getByTestId('phase').getByText('done').waitFor()

  await go(4, 'Set up with 0.0005')
  await page.getByRole('button', { name: 'One epoch' }).click()
  await bar().getByText('2 of 3').waitFor()
  // An epoch at one rate is none at the rate that is chosen after it.
  await page.getByTestId('phase').getByText('paused').waitFor()
  await page.getByLabel('or change it to').fill('10')
  await page.getByRole('button', { name: 'Change', exact: true }).click()
  await page.getByTestId('rate-now').getByText('10', { exact: true }).waitFor()
  await page.waitForTimeout(300)
  await bar().getByText('2 of 3').waitFor()
  await go(4, 'Set up with 10')
  await train()
  await bar().getByText('The task is finished').waitFor()
  await accessible(page, 'the bar')
  await bar().getByRole('link', { name: 'Lesson 4: The learning rate' }).click()
  for (const step of [1, 2, 3]) await ticked(step).waitFor()
  await page.getByText('Done: all 3 steps.').waitFor()

  await page.getByRole('button', { name: 'Start over' }).click()
  await bar().getByText('0 of 3').waitFor()
  await bar().getByRole('button', { name: 'Close the task' }).click()
  assert.equal(await bar().count(), 0)
})

/** Opens a number in See through by its name. */
async function see(ref: string): Promise<void> {
  await page.getByLabel('Open any number').fill(ref)
  await page.getByRole('button', { name: 'Open', exact: true }).click()
  await page.getByTestId('opened').waitFor()
}

test('what is opened in See through counts', { timeout: 300_000 }, async () => {
  await studio.fresh(page, 'learn/1')
  await go(1, 'Set up a small network')
  const units = Array.from({ length: 20 }, (_, i) => i)
  await see('1:0')
  await bar().getByText('1 of 3').waitFor()
  for (const unit of units) {
    if (await bar().getByText('The task is finished').isVisible()) break
    await see(`2:${unit}`)
    await page.getByTestId('opened').getByText(`unit ${unit} `).first().waitFor()
  }
  await bar().getByText('The task is finished').waitFor()
  await bar().getByRole('link', { name: 'Next: Softmax and cost' }).click()
  assert.equal(await bar().count(), 0)

  await go(3, 'Set up a small network')
  await page.getByRole('button', { name: 'One batch' }).click()
  await bar().getByText('1 of 4').waitFor()
  await see('grad(7.dense.weight:0,0)')
  await bar().getByText('2 of 4').waitFor()
  await page.getByRole('button', { name: 'Check the gradient' }).click()
  await bar().getByText('3 of 4').waitFor()
  await see('after(7.dense.weight:0,0)')
  await bar().getByText('The task is finished').waitFor()

  await go(6, 'Set up with batch norm')
  await page.evaluate(() => (location.hash = '#see/test/0'))
  await see('2.batch_norm.x_hat:5')
  await bar().getByText('1 of 3').waitFor()
})

test('few examples overfit, and batch normalisation starts a deep network', { timeout: 300_000 }, async () => {
  await studio.fresh(page, 'learn/5')
  await go(5, 'Set up without a penalty')
  await train()
  await bar().getByText('1 of 3').waitFor()
  await go(5, 'Set up with λ = 0.001')
  await train()
  await bar().getByText('2 of 3').waitFor()
  await go(6, 'Set up without')
  await train()
  await bar().getByText('2 of 3').waitFor() // with the x̂ of the test before
  await go(6, 'Set up with batch norm')
  await train()
  await bar().getByText('The task is finished').waitFor()
})

test('progress that cannot be read is no harm', async () => {
  for (const found of ['nonsense', 'null', '{"running":7,"done":[1]}', '{"running":"1","done":{"1":"yes"}}']) {
    await page.evaluate((text) => localStorage.setItem('glassnet lessons', text), found)
    await page.reload()
    await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: 'Learn' }).click()
    await page.getByRole('heading', { name: 'Your task' }).waitFor()
    assert.equal(await page.getByText('Done:').count(), 0)
  }
})

test('it fits', async () => {
  for (const dark of [false, true]) {
    for (const width of [360, 768, 1280]) {
      const p = await studio.page({ width, dark })
      for (const lesson of [1, 2, 3, 4, 5, 6]) {
        await p.goto(`${studio.url}#learn/${lesson}`)
        await p.getByRole('heading', { name: 'Your task' }).waitFor()
        if (lesson === 5) await p.getByRole('button', { name: 'Begin the task' }).click()
        await fits(p, `lesson ${lesson} at ${width}`)
      }
      await accessible(p, `learn at ${width}${dark ? ', dark' : ''}`)
      await p.context().close()
    }
  }
})
