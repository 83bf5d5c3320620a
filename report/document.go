package report

import (
	"html/template"
	"io"
)

// document is a report before it is set as HTML or as Markdown: both show the
// same blocks in the same order.
type document struct {
	Title    string
	Subtitle string
	Notices  []string // what a reader must know before anything else
	Sections []section
	Files    []file // what the figures need beside the page
}

// file is a file of the report, by its path in the report's folder. Pictures are
// drawn when they are written.
type file struct {
	path  string
	write func(io.Writer) error
}

// holding is a file with the given content.
func holding(path string, data []byte) file {
	return file{path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	}}
}

type section struct {
	ID, Title string
	Blocks    []block
	Parts     []section // one level, no further
}

// block is one piece of a section; exactly one of its fields is set.
type block struct {
	Text    string
	Lead    string // a paragraph that says the main thing
	Small   string // a paragraph in small print
	List    []string
	Table   *table
	Figures []figure // side by side where there is room
	Digits  *digits
	Code    string
	Terms   []term
	Beside  []table // side by side where there is room
	Details *details
}

// table is a table with a heading row. Numeric columns are set flush right.
type table struct {
	Caption string
	Head    []string
	Numeric []bool
	Rows    []row
	Notes   []string
	Class   string // "", results, confusion
}

type row struct {
	Class string // "", published, primary
	Cells []cell
}

type cell struct {
	Text  string
	Half  string // half of an interval, set as ± Half
	Mark  string // = or ≠
	Class string
}

// figure is a plot: in the page as SVG, beside it as files.
type figure struct {
	Path    string // of its files, without extension
	Alt     string
	Caption string
	Inline  template.HTML
}

// digits is a sheet of examples.
type digits struct {
	Path    string // of the sheet as one PNG
	Alt     string
	Caption string
	Columns int
	Images  []digit
}

type digit struct {
	Source template.URL
	Alt    string
	Lines  []string // under the image
}

type term struct{ Word, Meaning string }

type details struct {
	Summary string
	Blocks  []block
}

// cells makes a row of plain texts.
func cells(texts ...string) row {
	var r row
	for _, t := range texts {
		r.Cells = append(r.Cells, cell{Text: t})
	}
	return r
}
