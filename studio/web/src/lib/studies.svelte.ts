// The studies: the built-in ones, and the results of those that were run, now or earlier.
import { untrack } from 'svelte'
import { api, type Finished, type StudyInfo, type StudyResults, type StudyState } from './api.ts'
import { did } from './deeds.ts'
import { training } from './training.svelte.ts'

class Studies {
  builtIn = $state.raw<StudyInfo[]>([])
  /** The last results of each study, by its name, since this page was opened. */
  results = $state.raw<Record<string, StudyResults>>({})
  finished = $state.raw<Finished[]>([])
  byFolder = $state.raw<Record<string, StudyResults>>({})
  /** Folders whose results could not be had. */
  private gone = $state.raw<string[]>([])
  /** The folder of the study that was finished last, as in finished; '' before any was. */
  latest = $state('')
  busy = $derived(training.study?.phase === 'running' || training.study?.phase === 'stopping')

  private fetched = ''
  private watched = ''

  constructor() {
    $effect.root(() => {
      $effect(() => {
        const study = training.study
        if (study) untrack(() => void this.follow(study))
      })
    })
  }

  async load(): Promise<void> {
    if (this.builtIn.length === 0) this.builtIn = (await training.doing(() => api.studies())) ?? []
    await this.list()
  }

  private async list(): Promise<void> {
    this.finished = (await training.doing(() => api.finished())) ?? this.finished
  }

  /** Fetches the results of a finished study, unless they are here. */
  async fetch(folder: string): Promise<void> {
    if (folder in this.byFolder) return
    const results = await training.doing(() => api.studyResults(folder))
    if (results) this.byFolder = { ...this.byFolder, [folder]: results }
    else this.gone = [...this.gone, folder]
  }

  /**
   * The results of a study by its name: those of this session, else the last ones in the folder of studies that fit,
   * the command's too. asks is the folder to fetch before that is known.
   */
  last(name: string, fits: (results: StudyResults) => boolean): { results?: StudyResults; kept?: Finished; asks?: string } {
    const results = this.results[name]
    if (results) return { results }
    for (const kept of this.finished) {
      if (kept.study !== name || this.gone.includes(kept.folder)) continue
      const results = this.byFolder[kept.folder]
      if (!results) return { asks: kept.folder }
      if (fits(results)) return { results, kept }
    }
    return {}
  }

  /** Runs a built-in study by its name, or one whose text is given; throws what is wrong with it. */
  async start(what: { name?: string; text?: string; epochs?: number }): Promise<void> {
    training.study = await api.startStudy(what)
  }

  async stop(): Promise<void> {
    const study = await training.doing(() => api.stopStudy())
    if (study) training.study = study
  }

  /** Fetches the results of a study that has ended. */
  private async follow(study: StudyState): Promise<void> {
    const key = `${study.study} ${study.folder}`
    if (study.phase === 'running') this.watched = key
    if ((study.phase !== 'done' && study.phase !== 'stopped') || this.fetched === key) return
    this.fetched = key
    const results = await training.doing(() => api.studyResults())
    if (!results) return
    this.results = { ...this.results, [study.name]: results }
    this.latest = study.folder.split(/[\\/]/).at(-1)!
    this.byFolder = { ...this.byFolder, [this.latest]: results }
    void this.list()
    if (study.phase === 'done' && this.watched === key) did({ what: 'finished study', name: study.name })
  }
}

export const studies = new Studies()
