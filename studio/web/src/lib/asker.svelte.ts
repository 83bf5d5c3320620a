/**
 * Asks the server for something, never twice at once: asked again before the answer, it
 * asks once more after it.
 */
export class Asker {
  /** Whether an answer is still to come. */
  waiting = $state(false)

  private began = -Infinity
  private due: number | null = null
  private timer = 0
  private running: AbortController | null = null

  /** f must not throw. */
  constructor(private readonly f: (signal: AbortSignal) => Promise<unknown>) {}

  /** Asks at once; or, with `apart`, no sooner than so many milliseconds after it asked last. */
  ask(apart = 0): void {
    this.waiting = true
    this.due = Math.min(this.due ?? Infinity, this.began + apart)
    this.plan()
  }

  /** Forgets what was asked, and gives up what is being answered. */
  stop(): void {
    clearTimeout(this.timer)
    this.due = null
    this.running?.abort()
    this.running = null
    this.waiting = false
  }

  private plan(): void {
    if (this.due === null || this.running) return
    clearTimeout(this.timer)
    this.timer = window.setTimeout(() => void this.run(), Math.max(0, this.due - performance.now()))
  }

  private async run(): Promise<void> {
    const running = new AbortController()
    this.running = running
    this.due = null
    this.began = performance.now()
    await this.f(running.signal)
    if (this.running !== running) return
    this.running = null
    this.waiting = this.due !== null
    this.plan()
  }
}
