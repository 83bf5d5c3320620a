// Which view is open: the part of the address behind #, so that the browser's back
// button and links work. "#see/test/123" opens test example 123 in See through.

export const views = ['train', 'time', 'see', 'draw', 'mistakes', 'studies', 'learn'] as const
export type View = (typeof views)[number]

function parse(): { view: View; args: string[] } {
  const [view, ...args] = location.hash.slice(1).split('/')
  return { view: views.find((v) => v === view) ?? 'train', args }
}

class Route {
  private now = $state.raw(parse())
  view = $derived(this.now.view)
  args = $derived(this.now.args)

  constructor() {
    addEventListener('hashchange', () => (this.now = parse()))
  }

  go(view: View, ...args: (string | number)[]): void {
    location.hash = [view, ...args].join('/')
  }
}

export const route = new Route()
