// The training as the server tells it: one store for the whole page.
import { api, ApiError, type At, type Branch, type Everything, type Point, type Settings, type Snapshot, type State, type StudyState } from './api.ts'

/** How many points are kept, as on the server: when there are more, every second goes. */
const mostPoints = 4096
/** While it trains, points and snapshots are taken when they make it longer by a fiftieth, and after a second, ms. */
const longer = 1.02
const apart = 1000
/** After which time a stream that was refused is asked for again, ms. */
const refused = 10_000
/** How long one waits for a stream without a word, ms. */
const patience = 3000

/** Which of two is later, as the sign of a number: trainings, branches and their steps only grow. */
const order = (a: State, b: State): number => a.training - b.training || a.branch - b.branch || a.step - b.step

class Training {
  state = $state.raw<State | null>(null)
  points = $state.raw<Point[]>([])
  snapshots = $state.raw<Snapshot[]>([])
  branches = $state.raw<Branch[]>([])
  study = $state.raw<StudyState | null>(null)
  /** Where the whole page looks: a snapshot's id, or -1 for now. */
  at = $state<At>(-1)
  /** Whether there is no connection, and should be. */
  late = $state(false)
  error = $state.raw<ApiError | null>(null)

  /** The step that the page looks at. */
  step = $derived(this.snapshots.find((s) => s.id === this.at)?.step ?? this.state?.step ?? 0)
  /** How far the plots go: while it trains, they are a moment behind. */
  reached = $derived.by(() => {
    const last = this.points.at(-1)
    return this.state?.phase === 'running' && last?.branch === this.state.branch ? last.step : (this.state?.step ?? 0)
  })
  /** Changes whenever what is to be seen at `at` may have changed. */
  moment = $derived(`${this.state?.training ?? 0}/${this.at === -1 ? `${this.state?.branch}/${this.state?.step}` : this.at}`)
  live = $derived(this.at === -1)

  private news: Point[] = [] // that are not among the points yet
  private kept: { snapshots: Snapshot[]; branches: Branch[] } | null = null // not yet taken
  private caughtUp = -Infinity // when
  private asking = 0 // how often everything is being asked for
  private questions = 0 // how often it has been
  private heard = 0 // states that came by themselves

  /**
   * Listens while the page can be seen. A browser has few connections to one server
   * (Chromium six): a page in another tab, or one left for another, must not keep one.
   */
  listen(): void {
    let source: EventSource | null = null
    let again = 0 // the timer under which it is tried again
    let late = 0 // the timer after which it is told that there is no answer
    const follow = (): void => {
      window.clearTimeout(again)
      window.clearTimeout(late)
      source?.close()
      source = document.visibilityState === 'visible' ? this.open() : null
      if (!source) return
      late = window.setTimeout(() => (this.late = true), patience)
      source.addEventListener('open', () => window.clearTimeout(late))
      source.addEventListener('error', () => {
        this.late = true
        if (source?.readyState !== EventSource.CLOSED) return // the browser connects again by itself
        void this.refresh() // refused, as with too many streams; single questions may be answered
        again = window.setTimeout(follow, refused)
      })
    }
    document.addEventListener('visibilitychange', follow)
    follow()
  }

  private open(): EventSource {
    const source = new EventSource('/api/events')
    source.onopen = () => {
      this.late = false
      if (this.error?.status === 0) this.error = null // that the server could not be reached
      void this.refresh()
    }
    source.addEventListener('state', (e) => {
      this.heard++
      this.take(JSON.parse(e.data) as State)
    })
    source.addEventListener('points', (e) => {
      this.news.push(...(JSON.parse(e.data) as Point[]))
      this.catchUp()
    })
    source.addEventListener('snapshots', (e) => {
      this.kept = JSON.parse(e.data) as { snapshots: Snapshot[]; branches: Branch[] }
      this.catchUp()
    })
    source.addEventListener('study', (e) => (this.study = JSON.parse(e.data) as StudyState))
    return source
  }

  /** Takes the points and snapshots that have come, but none before those that are being asked for. */
  private catchUp(): void {
    const nothing = this.news.length === 0 && this.kept === null
    if (nothing || this.asking > 0 || this.slight()) return
    this.caughtUp = performance.now()
    if (this.news.length > 0) {
      let points = [...this.points, ...this.news]
      this.news = []
      while (points.length > mostPoints) points = points.filter((_, i) => i % 2 === 0)
      this.points = points
    }
    if (this.kept) this.keep(this.kept)
    this.kept = null
  }

  /** Whether what has come would hardly be seen in a plot, and can wait for what comes next. */
  private slight(): boolean {
    const shown = this.points.at(-1)
    const last = this.news.at(-1) ?? shown
    const recent = performance.now() < this.caughtUp + apart
    return recent && this.state?.phase === 'running' && shown !== undefined && last?.branch === shown.branch && last.step < longer * shown.step
  }

  async refresh(): Promise<void> {
    // What came before is part of the answer; what comes meanwhile may be, too.
    this.news = []
    this.kept = null
    const { heard } = this
    const question = ++this.questions
    this.asking++
    await this.doing(async () => {
      const all: Everything = await api.everything()
      if (question !== this.questions) return // a later one has been asked, and what was news then is gone
      if (all.state.training !== this.state?.training) this.at = -1
      if (heard === this.heard || !this.state || order(all.state, this.state) >= 0) this.state = all.state
      const last = all.points.at(-1)
      this.news = this.news.filter((p) => !last || p.branch > last.branch || (p.branch === last.branch && p.step > last.step))
      this.points = all.points
      this.keep(all)
      this.study = await api.study()
    })
    this.asking--
    this.catchUp()
  }

  private take(state: State): void {
    const other = state.training !== this.state?.training
    this.state = state
    if (other) {
      this.points = []
      this.news = []
      this.at = -1
      void this.refresh()
    } else this.catchUp()
  }

  private keep(kept: { snapshots: Snapshot[]; branches: Branch[] }): void {
    this.snapshots = kept.snapshots
    this.branches = kept.branches
    if (this.at !== -1 && !kept.snapshots.some((s) => s.id === this.at)) this.at = -1
  }

  /** Does something, and shows what went wrong in the page's one place for it. */
  async doing<T>(f: () => Promise<T>): Promise<T | undefined> {
    try {
      return await f()
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') return
      this.error = e instanceof ApiError ? e : new ApiError(0, String(e), '')
    }
  }

  async change(f: () => Promise<State>): Promise<boolean> {
    this.error = null
    const { heard } = this
    const state = await this.doing(f)
    // An event may overtake the answer, which then tells of what is over.
    if (state && (heard === this.heard || !this.state || order(state, this.state) > 0)) this.take(state)
    return state !== undefined
  }

  configure(settings: Partial<Settings>): Promise<boolean> {
    return this.change(() => api.configure(settings))
  }

  control(action: 'start' | 'pause' | 'batch' | 'epoch' | 'stop'): Promise<boolean> {
    this.at = -1
    return this.change(() => api.control(action))
  }
}

export const training = new Training()
