// A studio of its own for each test file, and a page of it in Debian's Chromium.
//
// GLASSNET names the program (go build -o ... ./cmd/glassnet); GLASSNET_DATA the folder of
// data sets, without which drawn-digits is used; CHROMIUM the browser.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import assert from 'node:assert/strict'
import { chromium, type Browser, type Locator, type Page } from 'playwright-core'
import axe from 'axe-core'

export class Studio {
  private constructor(
    readonly url: string,
    readonly browser: Browser,
    private readonly server: ChildProcess,
    private readonly out: string, // where its studies write
    private readonly borrowed: boolean, // whether that is another studio's
  ) {}

  static async open(...flags: string[]): Promise<Studio> {
    return Studio.start(await mkdtemp(join(tmpdir(), 'glassnet-')), false, flags)
  }

  /** Another session in the same folder of studies. */
  again(): Promise<Studio> {
    return Studio.start(this.out, true, [])
  }

  private static async start(out: string, borrowed: boolean, flags: string[]): Promise<Studio> {
    const program = process.env.GLASSNET
    assert(program, 'set GLASSNET to the built program')
    if (!flags.includes('--dataset') && !process.env.GLASSNET_DATA) flags.push('--dataset', 'drawn-digits')
    const server = spawn(program, ['studio', '--no-open', '--port', '0', '--out', out, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: server.stdout! }).on('line', (line) => {
        const found = /http:\/\/\S+/.exec(line)
        if (found) resolve(found[0])
      })
      server.on('exit', (code) => reject(new Error(`glassnet studio ended with ${code}`)))
    })
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    })
    return new Studio(url, browser, server, out, borrowed)
  }

  /** A page that fails the test when a script fails, or when it asks another origin for anything. */
  async page(options: { width?: number; height?: number; dark?: boolean; reduced?: boolean } = {}): Promise<Page> {
    const context = await this.browser.newContext({
      viewport: { width: options.width ?? 1280, height: options.height ?? 900 },
      colorScheme: options.dark ? 'dark' : 'light',
      reducedMotion: options.reduced ? 'reduce' : 'no-preference',
    })
    const page = await context.newPage()
    page.on('pageerror', (e) => assert.fail(e))
    page.on('console', (m) => {
      if (m.type() === 'error' && !/status of 4\d\d/.test(m.text())) assert.fail(`the page's console: ${m.text()}`)
    })
    page.on('request', (r) => {
      const u = new URL(r.url())
      if (u.protocol !== 'data:' && u.protocol !== 'blob:') assert.equal(u.origin, new URL(this.url).origin)
    })
    return page
  }

  /** Starts anew with small settings that train within a second or two, and opens a view. */
  async fresh(page: Page, view: string, settings: object = {}): Promise<void> {
    await page.goto(this.url)
    await page.getByRole('navigation').waitFor()
    await this.post('configure', { ...quick, ...settings })
    await page.goto(`${this.url}#${view}`)
    await page.getByTestId('phase').getByText('ready').waitFor()
  }

  async post(path: string, body: object): Promise<unknown> {
    const response = await fetch(`${this.url}api/${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    const answer: unknown = await response.json()
    assert.equal(response.status, 200, JSON.stringify(answer))
    return answer
  }

  async get(path: string): Promise<unknown> {
    return (await fetch(`${this.url}api/${path}`)).json()
  }

  async close(): Promise<void> {
    await this.browser.close()
    this.server.removeAllListeners('exit')
    const ended = new Promise((resolve) => this.server.on('exit', resolve))
    this.server.kill('SIGINT')
    await ended
    if (!this.borrowed) await rm(this.out, { recursive: true, force: true })
  }
}

/** Settings under which a training is over soon. */
export const quick = { hidden: [20, 7, 5], learning_rate: 0.1, batch: 128, epochs: 4, seed: 7 }

/** Fails when axe finds something serious or critical in the page as it is. */
export async function accessible(page: Page, where: string): Promise<void> {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run({ resultTypes: ['violations'] }))
  const bad = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical')
  assert.deepEqual(
    bad.map((v) => `${where}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(' | ')}`),
    [],
  )
}

/** Waits until so many are there: what a page shows may come a moment after what the test knows. */
export async function counted(all: Locator, n: number): Promise<void> {
  const began = performance.now()
  while ((await all.count()) !== n) {
    if (performance.now() - began > 10_000) assert.equal(await all.count(), n, all.toString())
    await all.page().waitForTimeout(50)
  }
}

/** The content must not be wider than the window. */
export async function fits(page: Page, where: string): Promise<void> {
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.ok(over <= 0, `${where} is ${over} px wider than the window`)
}
