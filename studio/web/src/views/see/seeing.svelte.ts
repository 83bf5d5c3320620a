// What See through looks at: an example, the step recorded on it, and what is opened of it.
import { api, ApiError, type At, type Convention, type Opened, type Param, type Seen } from '../../lib/api.ts'
import { did } from '../../lib/deeds.ts'
import { drawn } from '../../lib/drawn.svelte.ts'
import { training } from '../../lib/training.svelte.ts'
import { route } from '../../lib/route.svelte.ts'

/** next: the batch that the training takes next. */
export type Seeable = 'test' | 'train' | 'next' | 'drawn'
const seeable: readonly string[] = ['test', 'train', 'next', 'drawn'] satisfies Seeable[]

export interface Choice {
  set: Seeable
  example: number
}

/** The largest batch that the server records. */
export const mostExamples = 256

/** A parameter of so many numbers is fetched whole; of a larger one, a unit's at a time. */
const mostNumbers = 20_000

class Seeing {
  private last: Choice = { set: 'test', example: 0 }
  choice = $derived.by((): Choice => {
    const [name = '', example] = route.args
    if (route.view === 'see' && seeable.includes(name)) {
      const set = name as Seeable
      this.last = { set, example: Math.min(Math.max(0, Math.floor(Number(example)) || 0), this.size(set) - 1) }
    }
    return this.last
  })
  /** Examples in the step as the person wants it; null: as many as befit the network. */
  wanted = $state<number | null>(null)
  fewest = $derived(training.state?.layers.some((l) => l.kind === 'batch_norm') ? 2 : 1)
  private whole = $derived(Math.min(training.state?.settings.batch ?? 1, mostExamples)) // its batch, as far as can be seen
  batch = $derived(Math.max(this.fewest, this.wanted ?? (this.fewest > 1 || this.choice.set === 'next' ? this.whole : 1)))

  seen = $state.raw<Seen | null>(null)
  params = $state.raw<Record<string, Param>>({})
  /** Where the network was taken for `seen`. */
  at: At = -1
  recording = $state(false)
  private recorded = ''
  private moment = $state('')
  private abort: AbortController | null = null

  /** What has to be recorded; it changes with the choice, not with each step of a training. */
  private key = $derived(
    JSON.stringify([training.state?.training, training.at, this.choice, this.batch, this.choice.set === 'drawn' && [drawn.label, drawn.pixels]]),
  )
  private runs = $derived(training.state?.phase === 'running' && training.live)
  stale = $derived(this.seen !== null && this.moment !== training.moment)
  nothingDrawn = $derived(this.choice.set === 'drawn' && drawn.pixels === null)

  convention = $state<Convention>('rows')
  full = $state(false)
  /** The refs that were opened one from the other; the last one is open. */
  trail = $state.raw<string[]>([])
  opened = $state.raw<Opened | null>(null)
  problem = $state.raw<ApiError | null>(null)
  private asked = 0

  size(set: Seeable): number {
    const [train, validation, test] = training.state?.examples ?? [1, 0, 1]
    return set === 'test' ? test : set === 'train' ? train + validation : 1
  }

  /** Records again when there is something else to see: for use in an effect. */
  keepUp(): void {
    const other = this.key !== this.recorded || (!this.runs && this.moment !== training.moment)
    if (other && training.state?.training && !this.nothingDrawn) void this.record()
  }

  async record(): Promise<void> {
    this.abort?.abort()
    const abort = (this.abort = new AbortController())
    this.recorded = this.key
    this.moment = training.moment
    this.recording = true
    const { set, example } = this.choice
    const at = training.at
    const what =
      set === 'drawn'
        ? { at, set: 'test' as const, example: 0, batch: this.batch, pixels: drawn.pixels!, label: drawn.label }
        : { at, set, example, batch: this.batch }
    const seen = await training.doing(() => api.see(what, abort.signal))
    if (abort.signal.aborted) return
    this.recording = false
    if (!seen) return
    if (!sameLayers(seen, this.seen)) this.close()
    this.at = at
    this.seen = seen
    this.params = {}
    await Promise.all([this.fetchParams(seen), this.reopen()])
  }

  private async fetchParams(seen: Seen): Promise<void> {
    const names = seen.layers.flatMap((l) => l.params ?? []).filter((p) => p.shape.reduce((a, b) => a * b) <= mostNumbers)
    const all = await training.doing(() => Promise.all(names.map((p) => api.param(seen.id, p.name, null))))
    if (all && this.seen === seen) this.params = Object.fromEntries(all.map((p) => [p.name, p]))
  }

  get ref(): string | null {
    return this.trail.at(-1) ?? null
  }

  /** Opens a number of the step and remembers from which one it was reached. */
  async open(ref: string): Promise<void> {
    const opened = await this.fetch(ref)
    if (!opened) return
    if (this.ref !== opened.ref) this.trail = [...this.trail, opened.ref].slice(-12)
    did({ what: 'opened', opened })
  }

  /** Goes back to a place of the trail. */
  async back(to: number): Promise<void> {
    this.trail = this.trail.slice(0, to + 1)
    await this.reopen()
  }

  close(): void {
    this.trail = []
    this.opened = null
    this.problem = null
  }

  async reopen(): Promise<void> {
    if (this.ref) await this.fetch(this.ref)
    else this.opened = this.problem = null
  }

  private async fetch(ref: string): Promise<Opened | null> {
    if (!this.seen) return null
    const asked = ++this.asked
    try {
      const opened = await api.open(this.seen.id, ref, this.convention, this.full)
      if (asked !== this.asked) return null
      this.problem = null
      return (this.opened = opened)
    } catch (e) {
      if (asked === this.asked) this.problem = e instanceof ApiError ? e : new ApiError(0, String(e), '')
      return null
    }
  }
}

function sameLayers(a: Seen, b: Seen | null): boolean {
  const shape = (s: Seen | null) => JSON.stringify(s?.layers.map((l) => [l.kind, l.output.length]))
  return shape(a) === shape(b)
}

export const seeing = new Seeing()
