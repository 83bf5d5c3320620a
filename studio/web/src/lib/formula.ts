// Reads the formulas that the server writes as text, "z[i, j] = Σ_p x[i, p]·W[p, j] + b[j]"
// or "0.5·0.25 + (-2)·0.125", into a tree, and sets a tree as MathML.

export type Term =
  | { kind: 'number'; text: string }
  | { kind: 'name'; text: string }
  | { kind: 'index'; of: Term; indices: string[] }
  | { kind: 'derivative'; by: Term } // dC/dz
  | { kind: 'sum'; terms: { minus: boolean; of: Term }[] }
  | { kind: 'product'; factors: { dot: boolean; of: Term }[] } // without a dot: side by side
  | { kind: 'fraction'; top: Term; bottom: Term }
  | { kind: 'square'; of: Term }
  | { kind: 'root'; of: Term }
  | { kind: 'call'; name: string; args: Term[]; brackets: boolean }
  | { kind: 'total'; index: string; of: Term } // Σ_i of what follows
  | { kind: 'group'; of: Term } // in brackets
  | { kind: 'truth'; text: string } // [j is the label]: 1 if so, else 0
  | { kind: 'rest'; count: string; together: Term } // what a long sum leaves out
  | { kind: 'relation'; sides: Term[]; signs: string[] }

/** Formulas and words, in the order of the text. */
export type Part = Term | { kind: 'words'; text: string }

const number = /\d+(?:\.\d+)?(?:e[+-]?\d+)?/y
const name = /(?!Σ)\p{L}[\p{L}\p{M}]*/uy
const word = / (?!where\b)\p{L}{2,}(?![([])/uy
const left = / … (\d+) more, together (-?)(\d+(?:\.\d+)?(?:e[+-]?\d+)?)/y
const functions = ['exp', 'ln', 'tanh', 'max']

/** Reads a text; what is no formula comes back as words. */
export function parse(text: string): Part[] {
  if (/^\p{L}+ [\p{L} ]+$/u.test(text)) return [{ kind: 'words', text }]
  try {
    return new Parser(text).parts()
  } catch (e) {
    if (e instanceof SyntaxError) return [{ kind: 'words', text }]
    throw e
  }
}

class Parser {
  private at = 0
  constructor(private readonly text: string) {}

  parts(): Part[] {
    const parts: Part[] = [this.relation()]
    for (;;) {
      const rest = this.text.slice(this.at)
      if (rest === '') return parts
      if (/^, [^,;:=←]+[=←]/.test(rest)) {
        this.at += 2
        parts.push(this.relation())
      } else if (/^[,;:] | where /.test(rest)) {
        parts.push({ kind: 'words', text: rest.replace(/^[,;:]? /, '') })
        return parts
      } else throw this.wrong()
    }
  }

  private wrong(): SyntaxError {
    return new SyntaxError(`at ${this.at} of ${this.text}`)
  }

  /** Takes the mark when the text goes on with it, spaces before it or not. */
  private take(mark: string): boolean {
    const start = this.at
    while (this.text[this.at] === ' ') this.at++
    if (this.text.startsWith(mark, this.at)) {
      this.at += mark.length
      return true
    }
    this.at = start
    return false
  }

  private want(mark: string): void {
    if (!this.take(mark)) throw this.wrong()
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (found) this.at = pattern.lastIndex
    return found && found[0]
  }

  private relation(): Term {
    const sides = [this.sum()]
    const signs: string[] = []
    for (;;) {
      const sign = ['=', '←'].find((s) => this.take(s))
      if (!sign) break
      signs.push(sign)
      sides.push(this.sum())
    }
    return signs.length ? { kind: 'relation', sides, signs } : sides[0]!
  }

  private sum(): Term {
    const terms = [{ minus: this.take('-'), of: this.product() }]
    for (;;) {
      if (this.take('+')) terms.push({ minus: false, of: this.rest() ?? this.product() })
      else if (this.take('-')) terms.push({ minus: true, of: this.product() })
      else break
    }
    return terms.length === 1 && !terms[0]!.minus ? terms[0]!.of : { kind: 'sum', terms }
  }

  /** "… 778 more, together 0.25" */
  private rest(): Term | null {
    left.lastIndex = this.at
    const found = left.exec(this.text)
    if (!found) return null
    this.at = left.lastIndex
    const value: Term = { kind: 'number', text: found[3]! }
    return { kind: 'rest', count: found[1]!, together: found[2] ? { kind: 'sum', terms: [{ minus: true, of: value }] } : value }
  }

  private product(): Term {
    let factors = [{ dot: false, of: this.factor() }]
    const whole = (): Term => (factors.length === 1 ? factors[0]!.of : { kind: 'product', factors })
    for (;;) {
      if (this.take('·')) factors.push({ dot: true, of: this.factor() })
      else if (this.take('/ ')) factors = [{ dot: false, of: { kind: 'fraction', top: whole(), bottom: this.factor() } }]
      else if (/^ (?!where\b)[\p{L}(]/u.test(this.text.slice(this.at, this.at + 8))) factors.push({ dot: false, of: this.factor() })
      else return whole()
    }
  }

  /** A slash without spaces binds more than the dot: γ/σ·x is (γ/σ)·x. */
  private factor(): Term {
    const top = this.power()
    if (this.text[this.at] !== '/') return top
    this.at++
    return { kind: 'fraction', top, bottom: this.power() }
  }

  private power(): Term {
    let of = this.plain()
    while (this.text[this.at] === '²') {
      this.at++
      of = { kind: 'square', of }
    }
    return of
  }

  private plain(): Term {
    while (this.text[this.at] === ' ') this.at++
    if (this.take('(')) return { kind: 'group', of: this.until(')') }
    if (this.take('√(')) return { kind: 'root', of: this.until(')') }
    if (this.take('Σ')) {
      const index = this.take('_') ? this.match(name) : ''
      if (index === null) throw this.wrong()
      return { kind: 'total', index, of: this.product() }
    }
    if (this.take('[')) return { kind: 'truth', text: this.bracket() }
    if (this.take('dC/d')) return { kind: 'derivative', by: this.indexed() }
    const text = this.match(number)
    return text ? { kind: 'number', text } : this.indexed()
  }

  private until(mark: string): Term {
    const of = this.sum()
    this.want(mark)
    return of
  }

  /** The text up to the ] of a [ that has been taken. */
  private bracket(): string {
    const text = this.match(/[^[\]]+/y)
    if (text === null || this.text[this.at] !== ']') throw this.wrong()
    this.at++
    return text
  }

  /** A name: called, with indices, or of several words. */
  private indexed(): Term {
    let text = this.match(name)
    if (text === null) throw this.wrong()
    if (functions.includes(text)) return this.called(text)
    if (this.text[this.at] === '[') {
      this.at++
      return { kind: 'index', of: { kind: 'name', text }, indices: this.bracket().split(', ') }
    }
    while (text.length > 2) {
      const next = this.match(word)
      if (next === null) break
      text += next
    }
    return { kind: 'name', text }
  }

  private called(name: string): Term {
    if (!this.take('(')) return { kind: 'call', name, args: [this.factor()], brackets: false }
    const args = [this.sum()]
    while (this.take(',')) args.push(this.sum())
    this.want(')')
    return { kind: 'call', name, args, brackets: true }
  }
}

/** An element of MathML, still without a document. */
export interface Markup {
  tag: string
  attributes?: Record<string, string>
  inside: (Markup | string)[]
}

const element = (tag: string, ...inside: (Markup | string)[]): Markup => ({ tag, inside })
const row = (...inside: Markup[]): Markup => (inside.length === 1 ? inside[0]! : element('mrow', ...inside))
const sign = (text: string): Markup => ({ tag: 'mo', attributes: { form: 'infix' }, inside: [text] })
const bracket = (text: string): Markup => ({ tag: 'mo', attributes: { stretchy: 'false' }, inside: [text] })
const minus = '−'

/** A formula as MathML, in two dimensions. */
export function mathml(t: Term): Markup {
  switch (t.kind) {
    case 'number':
      return numeral(t.text)
    case 'name':
      return naming(t.text)
    case 'index':
      return element('msub', mathml(t.of), row(...t.indices.flatMap((i, k) => [...(k > 0 ? [bracket(',')] : []), naming(i)])))
    case 'derivative':
      return element('mfrac', row(element('mi', '∂'), element('mi', 'C')), row(element('mi', '∂'), mathml(t.by)))
    case 'sum':
      return row(
        ...t.terms.flatMap((term, i) => {
          const of = mathml(term.of)
          if (i > 0) return [sign(term.minus ? minus : '+'), of]
          return term.minus ? [element('mo', minus), of] : [of]
        }),
      )
    case 'product':
      return row(...t.factors.flatMap((f, i) => (i === 0 ? [factor(f.of)] : [f.dot ? sign('·') : space, factor(f.of)])))
    case 'fraction':
      return element('mfrac', mathml(bare(t.top)), mathml(bare(t.bottom)))
    case 'square':
      return element('msup', mathml(t.of), element('mn', '2'))
    case 'root':
      return element('msqrt', mathml(t.of))
    case 'call':
      if (!t.brackets) return row(element('mi', t.name), space, mathml(t.args[0]!))
      return row(element('mi', t.name), bracket('('), ...t.args.flatMap((a, i) => [...(i > 0 ? [bracket(',')] : []), mathml(a)]), bracket(')'))
    case 'total':
      return row(t.index ? element('munder', element('mo', '∑'), naming(t.index)) : element('mo', '∑'), mathml(t.of))
    case 'group':
      return row(bracket('('), mathml(t.of), bracket(')'))
    case 'truth':
      return row(bracket('['), element('mtext', t.text), bracket(']'))
    case 'rest':
      return row(element('mtext', `… ${t.count} more, together `), space, mathml(t.together))
    case 'relation':
      return row(...t.sides.flatMap((s, i) => (i === 0 ? [mathml(s)] : [sign(t.signs[i - 1]!), mathml(s)])))
  }
}

const space: Markup = { tag: 'mspace', attributes: { width: '0.25em' }, inside: [] }

/** A fraction needs no brackets to be a factor. */
const factor = (t: Term): Markup => mathml(t.kind === 'group' && t.of.kind === 'fraction' ? t.of : t)

/** What stands over or under a line, or under a root, needs no brackets. */
const bare = (t: Term): Term => (t.kind === 'group' ? t.of : t)

function numeral(text: string): Markup {
  const [digits, power] = text.split('e') as [string, string | undefined]
  if (power === undefined) return element('mn', digits)
  const exponent = Number(power)
  const size = element('mn', String(Math.abs(exponent)))
  return row(element('mn', digits), sign('·'), element('msup', element('mn', '10'), exponent < 0 ? row(element('mo', minus), size) : size))
}

function naming(text: string): Markup {
  if (text.endsWith('\u0302')) return { tag: 'mover', attributes: { accent: 'true' }, inside: [element('mi', text.slice(0, -1)), element('mo', '^')] }
  return element(text.includes(' ') ? 'mtext' : 'mi', text)
}

/** What is longer than so many letters is set on a line, and may be broken. */
const wide = 34

/** A formula as pieces between which a line may be broken: MathML itself is not broken by browsers. */
export function pieces(t: Term): Markup[] {
  if (t.kind === 'rest') return [row(element('mtext', `… ${t.count} more,`)), row(element('mtext', 'together '), space, mathml(t.together))]
  if (length(t) <= wide) return [mathml(t)]
  switch (t.kind) {
    case 'relation':
      return t.sides.flatMap((s, i) => (i === 0 ? pieces(s) : after(sign(t.signs[i - 1]!), pieces(s))))
    case 'sum':
      return t.terms.flatMap((term, i) => {
        if (i === 0 && !term.minus) return pieces(term.of)
        return after(i === 0 ? element('mo', minus) : sign(term.minus ? minus : '+'), pieces(term.of))
      })
    case 'product':
      return t.factors.flatMap((f, i) => (i === 0 ? pieces(f.of) : after(f.dot ? sign('·') : space, pieces(f.of))))
    case 'fraction':
      return [...pieces(t.top), ...after(sign('/'), pieces(t.bottom))]
    case 'square': {
      const inner = pieces(t.of)
      return [...inner.slice(0, -1), element('msup', inner.at(-1)!, element('mn', '2'))]
    }
    case 'group':
      return enclosed(bracket('('), pieces(t.of))
    case 'root':
      return enclosed(row(element('mo', '√'), bracket('(')), pieces(t.of))
    case 'call':
      if (t.args.length > 1 || !t.brackets) return [mathml(t)]
      return enclosed(row(element('mi', t.name), bracket('(')), pieces(t.args[0]!))
    default:
      return [mathml(t)]
  }
}

function after(first: Markup, then: Markup[]): Markup[] {
  return [row(first, then[0]!), ...then.slice(1)]
}

function enclosed(open: Markup, inner: Markup[]): Markup[] {
  const all = after(open, inner)
  return [...all.slice(0, -1), row(all.at(-1)!, bracket(')'))]
}

/** How many letters a term takes on a line, about. */
function length(t: Term): number {
  const total = (terms: Term[], between: number): number => terms.reduce((n, x) => n + length(x) + between, -between)
  switch (t.kind) {
    case 'number':
    case 'name':
    case 'truth':
      return t.text.length
    case 'index':
      return length(t.of) + t.indices.length
    case 'derivative':
      return length(t.by) + 1
    case 'sum':
      return total(t.terms.map((x) => x.of), 3)
    case 'product':
      return total(t.factors.map((x) => x.of), 1)
    case 'fraction':
      return Math.max(length(t.top), length(t.bottom))
    case 'square':
    case 'root':
    case 'total':
      return length(t.of) + 1
    case 'group':
      return length(t.of) + 2
    case 'call':
      return t.name.length + 2 + total(t.args, 2)
    case 'rest':
      return t.count.length + 18 + length(t.together)
    case 'relation':
      return total(t.sides, 3)
  }
}
