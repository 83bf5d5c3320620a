package report

import (
	"bytes"
	_ "embed"
	"html/template"
)

//go:embed report.html.tmpl
var pageSource string

//go:embed style.css
var style string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return template.CSS(style) },
	"side":  side,
}).Parse(pageSource))

// side is the CSS class of a table's column.
func side(t *table, i int) string {
	if i < len(t.Numeric) && t.Numeric[i] {
		return "n"
	}
	return ""
}

// renderHTML sets the document as one self-contained page: no script, no request
// to anywhere, every string from a file escaped.
func renderHTML(d *document) ([]byte, error) {
	var b bytes.Buffer
	err := page.Execute(&b, d)
	return b.Bytes(), err
}
