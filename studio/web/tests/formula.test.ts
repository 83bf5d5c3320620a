// Every law that the server states and many formulas are read, and mean what they meant.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mathml, parse, pieces, type Markup, type Part, type Term } from '../src/lib/formula.ts'
import { prose, signed } from '../src/lib/show.ts'

const minus = '−'

/** A term on one line, with brackets around all that binds: what the tree says. */
function plain(t: Part): string {
  switch (t.kind) {
    case 'words':
      return `"${t.text}"`
    case 'number':
    case 'name':
      return t.text
    case 'index':
      return `${plain(t.of)}_{${t.indices.join(',')}}`
    case 'derivative':
      return `∂${plain(t.by)}`
    case 'sum':
      return `{${t.terms.map((x) => (x.minus ? minus : '+') + plain(x.of)).join('')}}`
    case 'product':
      return `{${t.factors.map((f, i) => (i === 0 ? '' : f.dot ? '·' : ' ') + plain(f.of)).join('')}}`
    case 'fraction':
      return `{${plain(t.top)} / ${plain(t.bottom)}}`
    case 'square':
      return `${plain(t.of)}²`
    case 'root':
      return `√${plain(t.of)}`
    case 'call':
      return `${t.name}(${t.args.map(plain).join('; ')})`
    case 'total':
      return `Σ${t.index}${plain(t.of)}`
    case 'group':
      return `(${plain(t.of)})`
    case 'truth':
      return `[${t.text}]`
    case 'rest':
      return `…${t.count}:${plain(t.together)}`
    case 'relation':
      return t.sides.map((s, i) => (i === 0 ? '' : t.signs[i - 1]) + plain(s)).join('')
  }
}

const read = (text: string): string => parse(text).map(plain).join(' ')

// What the laws of explain/formula.go say, each read as the mathematics that it is.
const laws: [string, string][] = [
  ['z[i, j] = Σ_p x[i, p]·W[p, j]', 'z_{i,j}=Σp{x_{i,p}·W_{p,j}}'],
  ['z[i, j] = Σ_p x[i, p]·W[p, j] + b[j]', 'z_{i,j}={+Σp{x_{i,p}·W_{p,j}}+b_{j}}'],
  ['z[j, i] = Σ_p W[j, p]·a[p, i] + b[j]', 'z_{j,i}={+Σp{W_{j,p}·a_{p,i}}+b_{j}}'],
  ['a = max(0, z)', 'a=max(0; z)'],
  ['a = 1 / (1 + exp(-z))', `a={1 / ({+1+exp({${minus}z})})}`],
  ['a = tanh(z)', 'a=tanh(z)'],
  ['y = γ·x̂ + β, x̂ = (x - μ) / √(σ² + ε)', `y={+{γ·x̂}+β} x̂={({+x${minus}μ}) / √{+σ²+ε}}`],
  [
    'y = (x - mean over units) / √(variance over units + ε)',
    `y={({+x${minus}mean over units}) / √{+variance over units+ε}}`,
  ],
  ['μ = 1/n Σ_i x[i]', 'μ={{1 / n} Σix_{i}}'],
  ['σ² = 1/n Σ_i (x[i] - μ)²', `σ²={{1 / n} Σi({+x_{i}${minus}μ})²}`],
  ['1/σ = 1 / √(σ² + ε)', '{1 / σ}={1 / √{+σ²+ε}}'],
  ['x̂ = (x - μ)·1/σ', `x̂={({+x${minus}μ})·{1 / σ}}`],
  ['as it was initialised and the steps before this one have left it', '"as it was initialised and the steps before this one have left it"'],
  ['w ← w - η·dC/dw', `w←{+w${minus}{η·∂w}}`],
  ['running μ ← decay·running μ + (1 - decay)·μ', `{running μ}←{+{decay·running μ}+{({+1${minus}decay})·μ}}`],
  [
    'running σ² ← decay·running σ² + (1 - decay)·σ²·n/(n - 1)',
    `{running σ²}←{+{decay·running σ²}+{({+1${minus}decay})·σ²·{n / ({+n${minus}1})}}}`,
  ],
  ['x = byte / 255, rounded to float32', 'x={byte / 255} "rounded to float32"'],
  ['p[j] = exp(z[j] - max z) / Σ_k exp(z[k] - max z)', `p_{j}={exp({+z_{j}${minus}max(z)}) / Σkexp({+z_{k}${minus}max(z)})}`],
  ['loss = -ln(p[label] + 1e-8)', `loss={${minus}ln({+p_{label}+1e-8})}`],
  [
    'loss = -ln p[label] = ln Σ_k exp(z[k] - max z) - (z[label] - max z)',
    `loss={${minus}ln(p_{label})}={+ln(Σkexp({+z_{k}${minus}max(z)}))${minus}({+z_{label}${minus}max(z)})}`,
  ],
  ['cost = 1/n Σ_i loss[i]', 'cost={{1 / n} Σiloss_{i}}'],
  ['C = cost + penalty', 'C={+cost+penalty}'],
  ['penalty = λ/2 Σ w²; a term for each dense layer', 'penalty={{λ / 2} Σw²} "a term for each dense layer"'],
  [
    'penalty = λ Σ_j (Σ_p W[p, j])², as published; a term for each dense layer',
    'penalty={λ Σj(ΣpW_{p,j})²} "as published; a term for each dense layer"',
  ],
  ['dC/dz[j] = (p[j] - [j is the label]) / n', `∂z_{j}={({+p_{j}${minus}[j is the label]}) / n}`],
  ['dC/dx[i, p] = Σ_j dC/dz[i, j]·W[p, j]', '∂x_{i,p}=Σj{∂z_{i,j}·W_{p,j}}'],
  ['dC/da[p, i] = Σ_j W[j, p]·dC/dz[j, i]', '∂a_{p,i}=Σj{W_{j,p}·∂z_{j,i}}'],
  ['dC/dz = dC/da·1 where z > 0, else ·0', '∂z={∂a·1} "where z > 0, else ·0"'],
  ['dC/dz = dC/da·a·(1 - a)', `∂z={∂a·a·({+1${minus}a})}`],
  ['dC/dz = dC/da·(1 - a)·(1 + a)', `∂z={∂a·({+1${minus}a})·({+1+a})}`],
  [
    'dC/dx = γ/σ·dC/dy - γ/σ·1/n·dC/dβ - γ/σ·x̂·1/n·dC/dγ: directly, through the mean, through the variance',
    `∂x={+{{γ / σ}·∂y}${minus}{{γ / σ}·{1 / n}·∂β}${minus}{{γ / σ}·x̂·{1 / n}·∂γ}} "directly, through the mean, through the variance"`,
  ],
  [
    'dC/dx = dC/dy: the published study leaves out the derivative of its normalisation',
    '∂x=∂y "the published study leaves out the derivative of its normalisation"',
  ],
  ['dC/dW[p, j] = Σ_i x[i, p]·dC/dz[i, j] + λ·W[p, j]', '∂W_{p,j}={+Σi{x_{i,p}·∂z_{i,j}}+{λ·W_{p,j}}}'],
  ['dC/dW[j, p] = Σ_i dC/dz[j, i]·a[p, i] + λ·W[j, p]', '∂W_{j,p}={+Σi{∂z_{j,i}·a_{p,i}}+{λ·W_{j,p}}}'],
  ['dC/db[j] = Σ_i dC/dz[i, j]', '∂b_{j}=Σi∂z_{i,j}'],
  ['dC/dγ[j] = Σ_i dC/dy[i, j]·x̂[i, j]', '∂γ_{j}=Σi{∂y_{i,j}·x̂_{i,j}}'],
  ['dC/dβ[j] = Σ_i dC/dy[i, j]', '∂β_{j}=Σi∂y_{i,j}'],
]

test('every law is read as it is meant', () => {
  for (const [text, meant] of laws) assert.equal(read(text), meant, text)
})

/** The number that a formula of numbers comes to. */
function value(t: Term): number {
  switch (t.kind) {
    case 'number':
      return Number(t.text)
    case 'sum':
      return t.terms.reduce((s, x) => s + (x.minus ? -1 : 1) * value(x.of), 0)
    case 'product':
      return t.factors.reduce((p, f) => p * value(f.of), 1)
    case 'fraction':
      return value(t.top) / value(t.bottom)
    case 'square':
      return value(t.of) ** 2
    case 'root':
      return Math.sqrt(value(t.of))
    case 'group':
      return value(t.of)
    case 'rest':
      return value(t.together)
    case 'call': {
      const f: ((...x: number[]) => number) | undefined = { exp: Math.exp, ln: Math.log, tanh: Math.tanh, max: Math.max }[t.name]
      assert.ok(f, t.name)
      return f(...t.args.map(value))
    }
    default:
      assert.fail(`no number: ${t.kind}`)
  }
}

const formulas: [string, number][] = [
  ['0', 0],
  ['-0.5', -0.5],
  ['0.0051 / 255', 0.0051 / 255],
  ['0.5·0.25 + 0.125·(-2) + 0.01', 0.5 * 0.25 - 0.25 + 0.01],
  ['0.5·0.25 + (-0.125)·(-2) - 0.01', 0.5 * 0.25 + 0.25 - 0.01],
  ['-1.5e-05 + 2e+06', 2e6 - 1.5e-5],
  ['0.3·1.2 + … 778 more, together -0.25', 0.36 - 0.25],
  ['(0.5 + 0.25 + … 126 more, together 3.5e-05) / 128', 0.750035 / 128],
  ['max(0, -0.3)', 0],
  ['1 / (1 + exp(-(-0.7)))', 1 / (1 + Math.exp(0.7))],
  ['1 / (1 + exp(-0.7))', 1 / (1 + Math.exp(-0.7))],
  ['tanh(-0.7)', Math.tanh(-0.7)],
  ['(0.4 - 0.1) / √(0.02 + 0.001)', 0.3 / Math.sqrt(0.021)],
  ['1.5·(-0.2) + 0.3', 0],
  ['((0.4 - 0.1)² + (0.2 - (-0.1))²) / 2', 0.09],
  ['exp(1.5 - 2) / (exp(1.5 - 2) + exp(2 - 2))', Math.exp(-0.5) / (Math.exp(-0.5) + 1)],
  ['-ln(0.75 + 1e-08)', -Math.log(0.75 + 1e-8)],
  ['ln(exp(1 - 2) + exp(2 - 2)) - (1 - 2)', Math.log(Math.exp(-1) + 1) + 1],
  ['(0.3 - 1) / 8', -0.7 / 8],
  ['0.5·0.25·(1 - 0.25)', 0.5 * 0.25 * 0.75],
  ['0.5·(1 - 0.25)·(1 + 0.25)', 0.5 * 0.75 * 1.25],
  ['1.1·0.9·0.02 - 1.1·0.9·(0.04 / 8) - 1.1·0.9·(-1.3)·(0.05 / 8)', 0.99 * (0.02 - 0.005 + 1.3 * 0.00625)],
  ['0.25 - 0.1·(-0.002)', 0.2502],
  ['0.9·0.4 + 0.1·0.3·(8 / 7)', 0.36 + 0.03 * (8 / 7)],
  ['0.0001 / 2·(3.5 + 2.25)', 0.00005 * 5.75],
]

test('the server’s sentences have the page’s numbers', () => {
  assert.equal(prose('one update moves the weights of layer 1 by 6.8e-07 of their length'), 'one update moves the weights of layer 1 by 6.8·10⁻⁷ of their length')
  assert.equal(prose('mean difference -0.0044 to +0.0099, p = 1e-05 (-3 to 2), l2-norm, batch-norm - plain'), 'mean difference −0.0044 to +0.0099, p = 10⁻⁵ (−3 to 2), l2-norm, batch-norm - plain')
  assert.equal(prose('1e+03 times, exp2 and 1.5e3x'), '10³ times, exp2 and 1.5e3x')
})

test('what a study shows keeps the names of its experiments', () => {
  assert.equal(
    signed('Test accuracy is higher for l2-1e-5 than for -1 (mean difference -0.0044, 95 % interval -0.0099 to -0.0010 before correction)'),
    'Test accuracy is higher for l2-1e-5 than for -1 (mean difference −0.0044, 95 % interval −0.0099 to −0.0010 before correction)',
  )
})

test('a formula of numbers comes to what it says', () => {
  for (const [text, want] of formulas) {
    const [t, ...more] = parse(text)
    assert.equal(more.length, 0, text)
    assert.ok(t && t.kind !== 'words', text)
    assert.ok(Math.abs(value(t) - want) <= 1e-12 * Math.max(1, Math.abs(want)), `${text} is ${value(t)}, want ${want}`)
  }
})

test('what is no formula comes back as words', () => {
  for (const text of ['', 'z = (1 + 2', '0.5··2', '<img src=x onerror=alert(1)>']) {
    assert.deepEqual(parse(text), [{ kind: 'words', text }])
  }
})

const text = (m: Markup | string): string => (typeof m === 'string' ? m : m.inside.map(text).join(''))
const tags = (m: Markup | string): string[] => (typeof m === 'string' ? [] : [m.tag, ...m.inside.flatMap(tags)])

test('set as MathML: fractions, roots, indices, powers', () => {
  const first = (s: string): Term => {
    const t = parse(s)[0]!
    assert.ok(t.kind !== 'words', s)
    return t
  }
  const set = (s: string): Markup => mathml(first(s))
  assert.equal(text(set('(0.4 - 0.1) / √(0.02)')), `0.4${minus}0.10.02`) // brackets give way to the line and the root
  assert.deepEqual(tags(set('a / √(b)')), ['mfrac', 'mi', 'msqrt', 'mi'])
  assert.deepEqual(tags(set('x[i, p]')), ['msub', 'mi', 'mrow', 'mi', 'mo', 'mi'])
  assert.equal(text(set('1.5e-05')), `1.5·10${minus}5`)
  assert.equal(text(set('2e+06')), '2·106')
  assert.deepEqual(tags(set('(x - μ)²')).slice(0, 2), ['msup', 'mrow'])
  assert.equal(text(set('0.5·(0.04 / 8)')), '0.5·0.048')
})

test('a long sum is set in pieces that lose nothing', () => {
  const terms = Array.from({ length: 50 }, (_, i) => `0.${i + 1}·0.25`)
  const [t] = parse(`(${terms.join(' + ')}) / 50`)
  assert.ok(t && t.kind !== 'words')
  const all = pieces(t)
  assert.equal(all.length, 51)
  assert.equal(all.map(text).join(''), `(${terms.join('+')})/50`)
})

test('what a long sum leaves out is two pieces, which fit a narrow inspector', () => {
  const [t] = parse(`${Array.from({ length: 6 }, (_, i) => `0.${i + 1}·0.25`).join(' + ')} + … 24 more, together -7.2745e-05`)
  assert.ok(t && t.kind !== 'words')
  assert.deepEqual(pieces(t).slice(-2).map((p) => text(p).length <= 21), [true, true])
})
