import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Page } from 'playwright-core'
import type { Finished, State, StudyInfo, StudyResults } from '../src/lib/api.ts'
import { signed } from '../src/lib/show.ts'
import { fixed, interval } from '../src/views/studies/figures.ts'
import { equalRows, perExample, perUnit } from '../src/views/studies/tour/normalise.ts'
import { accessible, counted, fits, Studio } from './studio.ts'

const own = `name = "tiny"
title = "Two rates"
dataset = "drawn-digits"
seeds = [1, 2]
[common]
hidden = [5]
epochs = 2
[[experiment]]
name = "slow"
learning_rate = 0.01
[[experiment]]
name = "fast"
learning_rate = 0.1
[[comparison]]
a = "slow"
b = "fast"
primary = true
`

let studio: Studio
let page: Page
before(async () => {
  studio = await Studio.open()
  page = await studio.page()
})
after(() => studio.close())

const phase = (p: Page) => p.getByTestId('study-phase')
const results = () => studio.get('study/results') as Promise<StudyResults>
const minutes = { timeout: 300_000 }

async function open(view: string, on = page): Promise<void> {
  await on.goto(studio.url)
  await on.getByRole('navigation', { name: 'Views' }).waitFor()
  await on.goto(`${studio.url}#${view}`)
}

/** The built-in study with that name; where there is no MNIST, its text is changed as a person would. */
async function chooseBuiltIn(name: string): Promise<void> {
  const { state } = (await studio.get('state')) as { state: State }
  await open(`studies/${name}`)
  if (state.dataset === 'mnist') return
  await page.getByText('Look at its text, or change it').click()
  const editor = page.getByLabel('The study, TOML')
  await editor.fill((await editor.inputValue()).replace('dataset = "mnist"', `dataset = "${state.dataset}"`))
}

/** A text with one space wherever it has any. */
const spaced = (text: string): string => text.replace(/\s+/g, ' ').trim()

const run = () => page.getByRole('button', { name: /^Run (the study|this text)$/ })

async function quickLook(epochs: number): Promise<void> {
  await page.getByLabel('A quick look').check()
  await page.getByLabel('at most').fill(String(epochs))
}

test('the built-in studies are listed with what they ask', async () => {
  const all = (await studio.get('studies')) as StudyInfo[]
  for (const s of all) {
    await open(`studies/${s.name}`)
    await page.getByRole('navigation', { name: 'Which study' }).getByText(s.title).waitFor()
    await page.getByText(s.question).waitFor()
    await page.getByText('Look at its text, or change it').click()
    assert.equal(await page.getByLabel('The study, TOML').inputValue(), s.text)
  }
})

test('a study of one’s own runs, and what is shown is what the server has', minutes, async () => {
  await open('studies/own')
  await page.getByLabel('The study, TOML').fill(own)
  await run().click()
  await phase(page).getByText('done').waitFor(minutes)
  const { results: r, histories } = await results()
  assert.deepEqual(r.experiments.map((e) => e.name), ['slow', 'fast'])
  assert.equal(histories.length, 4)
  const table = page.getByRole('region', { name: 'Results of the experiments' })
  for (const e of r.experiments) {
    for (const [metric, digits] of [['test_accuracy', 4], ['val_cost', 4], ['steps', 0]] as const) {
      const s = e.summary[metric]!
      const cell = await table.getByTestId(`${e.name} ${metric}`).innerText()
      assert.equal(spaced(cell), spaced(`${fixed(s.mean, digits)} ${interval(s.ci95, digits)}`))
    }
  }
  const primary = r.comparisons!.find((c) => c.primary)!
  await page.getByText(signed(primary.finding)).waitFor()
  await page.getByLabel('What is compared').selectOption('steps')
  await page.getByText(signed(r.comparisons!.find((c) => c.metric === 'steps')!.finding)).waitFor()
  await page.getByText('Its runs, side by side').click()
  for (const h of histories) await page.getByText(h.run, { exact: true }).waitFor()
  const curves = page.getByRole('img', { name: /^Validation cost by step/ })
  assert.match((await curves.getAttribute('aria-label'))!, /fast-seed2 ends at/)
  await page.getByLabel('Curve of').selectOption('train_cost')
  await page.getByRole('img', { name: /^Training cost by step/ }).waitFor()
  await accessible(page, 'results')

  const report = page.getByRole('link', { name: 'Open the report' })
  assert.equal(await report.getAttribute('rel'), 'noopener')
  const answer = await fetch(new URL((await report.getAttribute('href'))!, studio.url))
  assert.equal(answer.status, 200)
  assert.match(await answer.text(), /Two rates/)
})

test('what is wrong with a text is said with its line', async () => {
  await open('studies/own')
  const editor = page.getByLabel('The study, TOML')
  await editor.fill(own.replace('epochs = 2', 'epoch = 2'))
  await run().click()
  const alert = page.getByRole('alert')
  await alert.getByText('Line 7, column 1:').waitFor()
  assert.match(await alert.innerText(), /unknown key "common\.epoch"/)
  assert.equal(await editor.getAttribute('aria-invalid'), 'true')
  const chosen = await editor.evaluate((e: HTMLTextAreaElement) => e.value.slice(e.selectionStart, e.selectionEnd))
  assert.equal(chosen, 'epoch = 2')
  await editor.fill(own.replace('seeds = [1, 2]', 'seeds = []'))
  assert.equal(await alert.count(), 0)
  await run().click()
  await alert.getByText('0 seeds, want 1 to').waitFor()
})

test('a text is opened from a file', async () => {
  await open('studies/own')
  await page.getByLabel('Open a TOML file').setInputFiles({ name: 'mine.toml', mimeType: 'text/plain', buffer: Buffer.from(own) })
  await page.waitForFunction((text) => document.querySelector('textarea')!.value === text, own)
})

test('a study is stopped', minutes, async () => {
  await chooseBuiltIn('published')
  await run().click()
  await page.getByRole('progressbar').first().waitFor(minutes)
  assert.ok(await run().isDisabled())
  await page.getByRole('button', { name: 'Stop the study' }).click()
  await phase(page).getByText('stopped').waitFor(minutes)
  await page.getByText('The study was stopped').first().waitFor()
})

test('a built-in study runs as a quick look, and the tour tells its figures', minutes, async () => {
  await chooseBuiltIn('published')
  await quickLook(1)
  await run().click()
  await phase(page).getByText('done').waitFor(minutes)
  const { results: r, evidence, histories } = await results()
  for (const e of r.experiments) assert.equal(e.runs[0]!.epochs, 1)
  await page.getByText('cut short after epoch 1').first().waitFor()

  await page.getByRole('link', { name: 'Guided tour: the published study' }).click()
  const heading = page.locator('article h3')
  await heading.getByText('The table').waitFor()
  for (const row of r.published!) {
    for (const f of row.figures) {
      assert.equal(await page.getByTestId(`${row.experiment} ${f.column}`).innerText(), `${f.ours} ${f.equal ? '=' : '≠'}`)
    }
  }
  const titles = ['The table', 'A second row that looks odd', 'The wrong axis', 'The missing derivative', 'The growing weights', 'A stop rule that needs no minimum', 'The L2 term', 'Put right']
  for (const [i, title] of titles.entries()) {
    await heading.getByText(title).waitFor()
    await page.getByText(`Page ${i + 1} of ${titles.length}`).waitFor()
    if (title === 'The missing derivative') {
      const e = Object.values(evidence)[0]!
      assert.match(await page.getByTestId('gradient-finding').innerText(), new RegExp(`Of ${e.checks.length} gradients of exp2 that were checked, ${e.failed} fail`))
      await counted(page.getByRole('region', { name: 'Gradients, published norm' }).locator('tbody tr'), e.checks.length)
    }
    if (title === 'The growing weights') {
      assert.equal(await page.getByTestId('end exp2').innerText(), fixed(r.experiments[1]!.runs[0]!.sum_of_weights, 1))
      const slider = page.getByLabel('Look at step')
      await slider.press('Home')
      await page.getByRole('columnheader', { name: `At step ${histories[0]!.step[0]}`, exact: true }).waitFor()
    }
    await accessible(page, title)
    if (i + 1 < titles.length) await page.getByRole('link', { name: `Next: ${titles[i + 1]}` }).click()
  }
})

test('both axes are computed in the page', async () => {
  await open('studies/tour/3')
  const x = [
    [2, 0, 1, 5],
    [4, 0, 2, 10],
    [1, 3, 0, 2],
  ]
  const shown = async (id: string) =>
    (await page.getByTestId(id).locator('tbody tr').evaluateAll((rows) => rows.map((r) => [...r.querySelectorAll('td')].map((td) => td.textContent!.trim())))).map((row) => row.slice(0, 4))
  const want = (m: number[][]) => m.map((row) => row.map((v) => fixed(v, 2)))
  assert.deepEqual(await shown('per-unit'), want(perUnit(x).values))
  assert.deepEqual(await shown('per-example'), want(perExample(x).values))
  for (const column of [0, 1, 2, 3]) {
    const values = perUnit(x).values.map((row) => row[column]!)
    assert.ok(Math.abs(values.reduce((a, b) => a + b)) < 1e-9)
  }
  assert.deepEqual(equalRows(perExample(x).values), [[0, 1]])
  await page.getByTestId('axis-finding').getByText('examples 1 and 2 come out the same').waitFor()
  const before = await shown('per-example')
  await page.getByRole('button', { name: 'Example 3 times 10' }).click()
  assert.deepEqual(await shown('per-example'), before)
  await page.getByLabel('example 2, unit 1').fill('7')
  await page.getByText('try it on example 3').waitFor()
})

test('it fits and can be used by all', minutes, async () => {
  for (const dark of [false, true]) {
    for (const width of [360, 768, 1280]) {
      const p = await studio.page({ width, dark, reduced: true })
      await open('studies/own', p)
      await p.getByRole('region', { name: 'Results', exact: true }).waitFor()
      await fits(p, `own at ${width}`)
      await accessible(p, `own at ${width}${dark ? ', dark' : ''}`)
      for (let i = 1; i <= 8; i++) {
        await p.goto(`${studio.url}#studies/tour/${i}`)
        await p.getByText(`Page ${i} of 8`).waitFor()
        await fits(p, `page ${i} of the tour at ${width}`)
      }
      await p.context().close()
    }
  }
})

test('the results of earlier studies are there, also those of another session', minutes, async () => {
  const before = (await studio.get('finished')) as Finished[]
  assert.ok(before.some((f) => f.study === 'tiny' && f.report), JSON.stringify(before))
  const other = await studio.again()
  try {
    const page = await other.page()
    await page.goto(`${other.url}#studies`)
    const choice = page.getByLabel('Results of', { exact: true })
    for (const f of before) {
      await choice.selectOption(f.folder)
      await page.getByRole('heading', { name: `Results: ${f.title}` }).waitFor()
      const report = page.getByRole('link', { name: 'Open the report' })
      assert.equal(await report.count(), f.report ? 1 : 0)
      if (f.report) assert.ok((await (await fetch(new URL((await report.getAttribute('href'))!, other.url))).text()).includes(f.title))
    }
    await accessible(page, 'results of an earlier study')

    const published = before.find((f) => f.study === 'published')
    assert.ok(published, 'the test before this one has run the published study')
    await page.getByRole('link', { name: 'Guided tour: the published study' }).click()
    await page.getByTestId('kept').waitFor()
    const earlier = (await other.get(`study/results?folder=${published.folder}`)) as StudyResults
    for (const row of earlier.results.published!) {
      for (const f of row.figures) {
        assert.equal(await page.getByTestId(`${row.experiment} ${f.column}`).innerText(), `${f.ours} ${f.equal ? '=' : '≠'}`)
      }
    }
    await accessible(page, 'the tour on an earlier study')

    // Of two corrected studies the tour shows the one that was not stopped, though it is older.
    const tiny = before.find((f) => f.study === 'tiny')!
    const figures = (await other.get(`study/results?folder=${tiny.folder}`)) as StudyResults
    const kept = (folder: string, started: string): Finished => ({ ...tiny, study: 'corrected', folder, started })
    const p = await other.page()
    await p.route('**/api/finished', (r) => r.fulfill({ json: [kept('later', '2026-03-02T10:00:00Z'), kept('earlier', '2025-04-05T10:00:00Z')] }))
    await p.route('**/api/study/results?folder=*', (r) =>
      r.fulfill({ json: { ...figures, results: { ...figures.results, interrupted: r.request().url().endsWith('later') } } }),
    )
    await p.goto(`${other.url}#studies/tour/8`)
    await p.getByTestId('kept').getByText('2025').waitFor()
  } finally {
    await other.close()
  }
})
