// Looks at the network: one request at a time, and at most one a second while it trains.
import { api, ApiError, type At, type Look } from './api.ts'
import { did } from './deeds.ts'
import { training } from './training.svelte.ts'

const apart = 1000 // ms

export class Looking {
  look = $state.raw<Look | null>(null)
  private wanted: At | null = null
  private busy = false

  /** Follows a place in time, null being none, for as long as the component that calls it is there. */
  constructor(at: () => At | null) {
    $effect(() => {
      void training.moment
      void training.state?.learning_rate
      const place = training.state?.training ? at() : null
      if (place === null) this.wanted = this.look = null
      else void this.ask(place)
    })
    $effect(() => () => (this.wanted = null))
  }

  private async ask(at: At): Promise<void> {
    this.wanted = at
    if (this.busy) return
    this.busy = true
    while (this.wanted !== null) {
      const now: At = this.wanted
      this.wanted = null
      try {
        const look = await api.look(now)
        this.look = look
        did({ what: 'looked', look })
      } catch (e) {
        const gone = e instanceof ApiError && e.status === 404 // a snapshot that was let go of meanwhile
        if (!gone) training.error = e instanceof ApiError ? e : new ApiError(0, String(e), '')
      }
      if (now === -1 && training.state?.phase === 'running') await new Promise((resolve) => setTimeout(resolve, apart))
    }
    this.busy = false
  }
}
