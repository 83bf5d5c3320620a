// What a person has done on the page, so that a lesson can tell that its task is done.
import type { Check, Look, Opened, Prediction, Settings } from './api.ts'

export type Deed =
  | { what: 'configured'; settings: Settings }
  | { what: 'branched'; before: Settings; after: Settings }
  | { what: 'opened'; opened: Opened }
  | { what: 'checked'; check: Check }
  | { what: 'looked'; look: Look }
  | { what: 'predicted'; prediction: Prediction }
  | { what: 'opened mistake'; label: number; predicted: number }
  | { what: 'finished study'; name: string }

const listeners = new Set<(deed: Deed) => void>()

export function did(deed: Deed): void {
  for (const f of listeners) f(deed)
}

export function onDeed(f: (deed: Deed) => void): () => void {
  listeners.add(f)
  return () => listeners.delete(f)
}
