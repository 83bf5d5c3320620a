package drawn

import "math"

// vertex is a point of a line with the force on the pen there, about 1.
type vertex struct{ x, y, force float64 }

// hand is the writer of one example: what all of its strokes share. Lengths of
// the shape are in digit heights, those of the ink in pixels.
type hand struct {
	sloppiness float64    // standard deviation of the control points
	roundness  float64    // 1: full curves, 0: nearly straight from point to point
	tremor     float64    // standard deviation of a vertex from where its neighbour would have it
	unevenness float64    // standard deviation of the force on the pen
	bend       [6]float64 // coefficients of the distortion, see distort
	width      float64    // factor on the digit's width
	slant      float64    // tangent of the angle; positive leans right
	sin, cos   float64    // of the rotation
	size       float64    // pixels: longer side of the ink's box
	dx, dy     float64    // pixels: from the field's centre to the ink's centre of mass
	radius     float64    // pixels: half of the stroke's thickness at force 1
	edge       float64    // pixels: width of the stroke's soft edge
	blur       float64    // share of a pixel's ink that goes to either neighbour
	darkness   float64    // ink of a stroke's inside at force 1; above 1 saturates
	grain      float64    // standard deviation of the noise on inked pixels
}

// newHand draws a writer by lot. The ranges were tuned by eye beside MNIST and
// by the three networks of the package comment. Squares and cubes of uniform
// numbers make careful writers common and careless ones rare.
func newHand(s *stream) hand {
	var h hand
	careless := s.uniform()
	h.sloppiness = 0.012 + float64(0.030*float64(careless*careless)) // up to 0.8 pixels
	h.roundness = s.between(0.70, 1.08)
	shaky := s.uniform()
	h.tremor = 0.012 * float64(shaky*float64(shaky*shaky)) // a quarter of a pixel at worst
	h.unevenness = s.between(0.02, 0.20)
	for i := range h.bend {
		h.bend[i] = 0.075 * s.bell() // each of the terms moves the corners of the digit by 0.7 pixels
	}
	h.width = 1 + float64(0.18*s.bell())
	h.slant = 0.15 + float64(0.23*s.bell()) // most people lean right; up to 43 degrees
	h.sin = 0.12 * s.bell()                 // 7 degrees; up to 25
	h.cos = math.Sqrt(1 - float64(h.sin*h.sin))
	h.size = 20 + float64(0.4*s.bell()) // MNIST: 20
	// MNIST centres the mass to half a pixel. But its 500 writers differ in more
	// ways than these; being less well centred makes up for it.
	h.dx, h.dy = 1.1*s.bell(), 1.1*s.bell()
	thick := s.uniform()
	h.radius = 0.95 + float64(0.18*s.bell()) + float64(0.8*float64(thick*thick)) // pencil to felt pen
	h.edge = s.between(0.7, 1.3)                                                 // a sharp edge averaged over pixels is 1 wide
	h.blur = s.between(0, 0.08)
	h.darkness = s.between(1.0, 1.5)
	h.grain = s.between(0, 0.05)
	return h
}

// choose returns the strokes of one way to write the digit: a mix, in a random
// ratio, of two models of a form. The ratio may go a quarter beyond either one.
func choose(s *stream, digit uint8) []stroke {
	ticket := s.below(100)
	k := 0
	for ticket >= forms[digit][k].share {
		ticket -= forms[digit][k].share
		k++
	}
	models := forms[digit][k].models
	a, b := models[s.below(len(models))], models[s.below(len(models))]
	t := s.between(-0.25, 1.25)
	mixed := make([]stroke, len(a))
	for i := range a {
		mixed[i] = make(stroke, len(a[i]))
		for j, p := range a[i] {
			q := b[i][j]
			mixed[i][j] = point{p.x + float64(t*(q.x-p.x)), p.y + float64(t*(q.y-p.y))}
		}
	}
	return mixed
}

// stray moves each control point by the writer's sloppiness and gives it a
// force. Both copies of a corner move alike, and the ends of a stroke half as
// far again: a pen lands and leaves with less care than it turns.
func (h *hand) stray(s *stream, control stroke) []vertex {
	moved := make([]vertex, len(control))
	for i, p := range control {
		if i > 0 && p == control[i-1] {
			moved[i] = moved[i-1]
			continue
		}
		far := h.sloppiness
		if i == 0 || i == len(control)-1 {
			far *= 1.5
		}
		moved[i] = vertex{
			p.x + float64(far*s.bell()),
			p.y + float64(far*s.bell()),
			1 + float64(h.unevenness*s.bell()),
		}
	}
	return moved
}

// piecesPerSpan is the number of straight pieces between two control points.
// These are up to a third of a digit apart, so that a piece is about a pixel.
const piecesPerSpan = 6

// curve returns a smooth line through the control points: the cubic spline of
// Catmull and Rom ("A class of local interpolating splines", 1974), whose slope
// at a point is half of the way from the point before to the one after, here
// times roundness. An end or a corner lacks one of the two: the mirror image of
// the other takes its place.
func (h *hand) curve(control []vertex) []vertex {
	line := []vertex{control[0]}
	for i := 0; i+1 < len(control); i++ {
		p, q := control[i], control[i+1]
		if p == q {
			continue
		}
		before, after := mirror(q, p), mirror(p, q)
		if i > 0 && control[i-1] != p {
			before = control[i-1]
		}
		if i+2 < len(control) && control[i+2] != q {
			after = control[i+2]
		}
		half := h.roundness / 2
		for k := 1; k <= piecesPerSpan; k++ {
			t := float64(k) / piecesPerSpan
			line = append(line, vertex{
				hermite(t, p.x, q.x, float64(half*(q.x-before.x)), float64(half*(after.x-p.x))),
				hermite(t, p.y, q.y, float64(half*(q.y-before.y)), float64(half*(after.y-p.y))),
				hermite(t, p.force, q.force, 0, 0), // flat at both ends: stays between them
			})
		}
	}
	return line
}

// mirror returns p's mirror image in centre.
func mirror(p, centre vertex) vertex {
	return vertex{x: centre.x + (centre.x - p.x), y: centre.y + (centre.y - p.y)}
}

// hermite returns the cubic that goes from p with slope u at t = 0 to q with
// slope v at t = 1:
//
//	p + u·t + (3(q-p) - 2u - v)·t² + (u + v - 2(q-p))·t³
func hermite(t, p, q, u, v float64) float64 {
	way := q - p
	square := float64(3*way) - float64(2*u) - v
	cube := u + v - float64(2*way)
	return p + float64(t*(u+float64(t*(square+float64(t*cube)))))
}

// shake roughens a line: each vertex is moved at random, and carries on half of
// the move of the one before.
func (h *hand) shake(s *stream, line []vertex) {
	var x, y float64
	for i := range line {
		x = x/2 + float64(h.tremor*s.bell())
		y = y/2 + float64(h.tremor*s.bell())
		line[i].x += x
		line[i].y += y
	}
}

// distort bends a line by a polynomial of degree 2 about the digit's middle,
// then widens, slants and turns it. Lengths come out doubled, which is
// nothing to place.
func (h *hand) distort(line []vertex) {
	b := &h.bend
	for i, p := range line {
		u, v := 2*(p.x-0.3), 2*(p.y-0.5) // about -1..1
		uu, uv, vv := u*u, u*v, v*v
		x := u + float64(b[0]*uu) + float64(b[1]*uv) + float64(b[2]*vv)
		y := v + float64(b[3]*uu) + float64(b[4]*uv) + float64(b[5]*vv)
		x = float64(h.width*x) - float64(h.slant*y)
		line[i].x = float64(h.cos*x) - float64(h.sin*y)
		line[i].y = float64(h.sin*x) + float64(h.cos*y)
	}
}

// place scales the lines to pixels and moves them to the field as MNIST did it:
// the longer side of the ink's box is about 20 pixels, and the ink's centre of
// mass lies near the field's centre.
func (h *hand) place(lines [][]vertex) {
	left, right := math.Inf(1), math.Inf(-1)
	top, bottom := math.Inf(1), math.Inf(-1)
	var force, mass, massX, massY float64
	for _, line := range lines {
		for i, p := range line {
			left, right = min(left, p.x), max(right, p.x)
			top, bottom = min(top, p.y), max(bottom, p.y)
			force = max(force, p.force)
			if i == 0 {
				continue
			}
			q := line[i-1]
			dx, dy := p.x-q.x, p.y-q.y
			m := float64(math.Sqrt(float64(dx*dx)+float64(dy*dy)) * (p.force + q.force)) // length times thickness
			mass += m
			massX += float64(m * (p.x + q.x) / 2)
			massY += float64(m * (p.y + q.y) / 2)
		}
	}
	reach := float64(h.radius * force)
	scale := (h.size - float64(2*reach)) / max(right-left, bottom-top)
	x := shift(h.dx-float64(scale*massX/mass), float64(scale*left)-reach, float64(scale*right)+reach)
	y := shift(h.dy-float64(scale*massY/mass), float64(scale*top)-reach, float64(scale*bottom)+reach)
	for _, line := range lines {
		for i, p := range line {
			line[i].x = float64(scale*p.x) + x
			line[i].y = float64(scale*p.y) + y
		}
	}
}

// margin is the number of pixels that stay free around the strokes, soft edge
// and blur not counted: with these, the field's outermost pixels stay free too.
const margin = 2

// shift returns how far to move what reaches from low to high: wanted from the
// field's centre, or as near to that as the margin allows.
func shift(wanted, low, high float64) float64 {
	return min(max(wanted+Width/2, margin-low), Width-margin-high)
}
