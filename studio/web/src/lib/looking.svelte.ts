// Looks at the network: one request at a time, and at most one a second while it trains.
import { api, ApiError, type At, type Look } from './api.ts'
import { Asker } from './asker.svelte.ts'
import { did } from './deeds.ts'
import { training } from './training.svelte.ts'

const apart = 1000 // ms

export class Looking {
  look = $state.raw<Look | null>(null)

  /** Follows a place in time, null being none, for as long as the component that calls it is there. */
  constructor(at: () => At | null) {
    // Apart from the state, which changes all the time while it trains.
    const place = $derived(training.state?.training ? at() : null)
    const follows = $derived(place === -1 && training.state?.phase === 'running')
    const rate = $derived(training.state?.learning_rate)
    const asker = new Asker(async (signal) => {
      if (place === null) return
      try {
        const asked = place
        const look = await api.look(asked, signal)
        if (signal.aborted || asked !== place) return // another place is asked for after it
        this.look = look
        did({ what: 'looked', look })
      } catch (e) {
        const gone = e instanceof ApiError && e.status === 404 // a snapshot that was let go of meanwhile
        if (!gone && !signal.aborted) training.error = e instanceof ApiError ? e : new ApiError(0, String(e), '')
      }
    })
    $effect(() => {
      void [training.moment, rate]
      if (place === null) {
        asker.stop()
        this.look = null
      } else asker.ask(follows ? apart : 0)
    })
    $effect(() => () => asker.stop())
  }
}
