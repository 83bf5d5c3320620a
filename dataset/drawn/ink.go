package drawn

import "math"

// field holds the ink of the pixels row by row, 0 none to 1 full.
type field [Height * Width]float64

// ink draws the lines with the writer's pen, piece by piece.
func (f *field) ink(h *hand, lines [][]vertex) {
	for _, line := range lines {
		for i := 1; i < len(line); i++ {
			f.piece(h, line[i-1], line[i])
		}
	}
}

// piece draws a straight piece from p to q with round ends, as thick and dark
// as the force on the pen has it. The ink of a pixel follows from its depth,
// the distance of its centre from the piece's outline: none half an edge outside,
// full half an edge inside. Of several pieces a pixel keeps the largest ink,
// so that they join without seams.
func (f *field) piece(h *hand, p, q vertex) {
	reach := float64(h.radius*max(p.force, q.force)) + h.edge/2
	left, right := pixel(min(p.x, q.x)-reach), pixel(max(p.x, q.x)+reach)
	top, bottom := pixel(min(p.y, q.y)-reach), pixel(max(p.y, q.y)+reach)
	ux, uy := q.x-p.x, q.y-p.y
	length2 := float64(ux*ux) + float64(uy*uy)
	for row := top; row <= bottom; row++ {
		for col := left; col <= right; col++ {
			x, y := float64(col)+0.5-p.x, float64(row)+0.5-p.y // from p to the pixel's centre
			t := 0.0                                           // the nearest point of the piece is p + t·u
			if length2 > 0 {
				t = min(max((float64(x*ux)+float64(y*uy))/length2, 0), 1)
			}
			dx, dy := x-float64(t*ux), y-float64(t*uy)
			force := p.force + float64(t*(q.force-p.force))
			depth := float64(h.radius*force) - math.Sqrt(float64(dx*dx)+float64(dy*dy))
			ink := min(max(depth/h.edge+0.5, 0), 1) * min(h.darkness*force, 1)
			f[row*Width+col] = max(f[row*Width+col], ink)
		}
	}
}

// pixel returns the row or column in which coordinate v lies, or the nearest
// one of the field.
func pixel(v float64) int {
	return int(min(max(v, 0), Width-1))
}

// spread blurs the field, which is free of ink at its border: along the rows,
// then along the columns, with weights blur, 1-2·blur, blur.
func (f *field) spread(blur float64) {
	for _, step := range [2]int{1, Width} {
		g := *f
		for i := step; i < len(f)-step; i++ {
			f[i] = float64((1-float64(2*blur))*g[i]) + float64(blur*(g[i-step]+g[i+step]))
		}
	}
}

// faintest is the least ink that shows: 10 of 255. Less is paper, which keeps
// the background exactly zero around a blurred stroke, too.
const faintest = 0.04

// expose turns ink to bytes, 0 paper to 255 full, with grain where there is ink.
func (f *field) expose(s *stream, grain float64, pixels []byte) {
	for i, v := range f {
		pixels[i] = 0
		if v >= faintest {
			v += float64(grain * s.bell())
			pixels[i] = byte(float64(255*min(max(v, 0), 1)) + 0.5)
		}
	}
}
