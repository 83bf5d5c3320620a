// Pictures of the page, to be looked at; those of docs/studio are made by
//
//	GLASSNET=... GLASSNET_DATA=... node --import tsx bench/shots.ts ../../docs/studio docs
//
// and without "docs" every view is taken, light and dark, at three widths.
import { mkdirSync } from 'node:fs'
import { Studio } from '../tests/studio.ts'

const [folder = 'shots', docs] = process.argv.slice(2)
mkdirSync(folder, { recursive: true })
const studio = await Studio.open()
const page = await studio.page()
await studio.fresh(page, 'train', { epochs: 10 })
await studio.post('control', { action: 'start' })
await page.getByTestId('phase').getByText('done').waitFor({ timeout: 120_000 })

const views = docs ? ['train', 'see/test/0', 'draw', 'mistakes'] : ['train', 'time', 'see/test/0', 'draw', 'mistakes', 'studies', 'learn']
const widths = docs ? [1280] : [360, 768, 1280]
for (const view of views) {
  for (const width of widths) {
    for (const dark of docs ? [view === 'draw'] : [false, true]) {
      await page.setViewportSize({ width, height: 900 })
      await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' })
      await page.goto(`${studio.url}#${view}`)
      if (view === 'draw') {
        await draw()
        await page.getByText('still being measured').waitFor({ state: 'hidden', timeout: 120_000 })
      }
      if (view.startsWith('see')) {
        await page.getByPlaceholder(/2:5/).fill('3:4')
        await page.getByRole('button', { name: 'Open', exact: true }).click()
      }
      await page.waitForTimeout(2000)
      await page.screenshot({ path: `${folder}/${view.replace(/\/.*/, '')}${docs ? '' : `-${width}${dark ? '-dark' : ''}`}.png`, fullPage: !docs })
    }
  }
}
await studio.close()

/** A seven, by the mouse. */
async function draw(): Promise<void> {
  const box = (await page.getByTestId('pad').or(page.locator('canvas').first()).first().boundingBox())!
  const at = (x: number, y: number) => page.mouse.move(box.x + box.width * x, box.y + box.height * y, { steps: 8 })
  await at(0.3, 0.22)
  await page.mouse.down()
  await at(0.7, 0.22)
  await at(0.45, 0.8)
  await page.mouse.up()
}
