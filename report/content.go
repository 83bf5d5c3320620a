package report

import (
	"fmt"
	"image/png"
	"io"

	"gonum.org/v1/plot/plotter"

	"glassnet/experiment"
)

type xy = plotter.XY

// builder collects a document and the files that its figures need.
type builder struct {
	doc document
	err error // the first failure to draw something
}

// build makes the document over the studies.
func build(studies []*study) (*document, error) {
	b := &builder{}
	b.doc.Title, b.doc.Subtitle = title(studies), subtitle(studies)
	b.doc.Notices = notices(studies)
	b.add(section{ID: "answer", Title: "The short answer", Blocks: shortAnswer(studies)})
	b.add(b.setting(studies))
	for _, s := range studies {
		b.add(b.study(s))
	}
	b.add(environment(studies))
	b.add(section{ID: "glossary", Title: "Words", Blocks: []block{{Terms: glossary}}})
	return &b.doc, b.err
}

func (b *builder) add(s section) { b.doc.Sections = append(b.doc.Sections, s) }

// drawn is anything that can be drawn.
type drawn interface {
	render() (svg []byte, png func(io.Writer) error, err error)
}

// figure draws a chart and keeps its files.
func (b *builder) figure(name string, c drawn, alt, caption string) figure {
	svg, png, err := c.render()
	if err != nil {
		if b.err == nil {
			b.err = fmt.Errorf("draw plot %q: %w", name, err)
		}
		return figure{}
	}
	path := "plots/" + name
	b.doc.Files = append(b.doc.Files, holding(path+".svg", svg), file{path + ".png", png})
	return figure{Path: path, Alt: alt, Caption: caption, Inline: inline(svg, alt)}
}

// digits puts examples on a sheet.
func (b *builder) digits(name string, all []experiment.Digit, d *experiment.DatasetInfo, columns int, alt, caption string) *digits {
	s := &digits{Path: "plots/" + name + ".png", Alt: alt, Caption: caption, Columns: columns}
	b.doc.Files = append(b.doc.Files, file{s.Path, func(w io.Writer) error {
		return png.Encode(w, sheet(all, d.Width, d.Height, columns))
	}})
	for _, one := range all {
		image := digit{Alt: fmt.Sprintf("example %d, label %d", one.Index, one.Label)}
		if one.Predicted != nil {
			image.Alt += fmt.Sprintf(", predicted %d", *one.Predicted)
			image.Lines = []string{fmt.Sprintf("%d, taken for %d", one.Label, *one.Predicted)}
			if p, ok := number(one.Probability); ok {
				image.Lines = append(image.Lines, confidence(p))
			}
		}
		image.Source = dataURI(one, d.Width, d.Height)
		s.Images = append(s.Images, image)
	}
	return s
}
