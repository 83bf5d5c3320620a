package report

import (
	"bytes"
	"fmt"
	"strings"
)

// renderMarkdown sets the document as Markdown, with links to the files of the
// plots.
func renderMarkdown(d *document) []byte {
	m := &markdown{}
	for _, n := range d.Notices {
		m.paragraph("> **" + escapeMarkdown(n) + "**")
	}
	m.paragraph("# " + escapeMarkdown(d.Title))
	m.paragraph(escapeMarkdown(d.Subtitle))
	for _, s := range d.Sections {
		m.paragraph("## " + escapeMarkdown(s.Title))
		m.blocks(s.Blocks)
		for _, p := range s.Parts {
			m.paragraph("### " + escapeMarkdown(p.Title))
			m.blocks(p.Blocks)
		}
	}
	return m.Bytes()
}

type markdown struct{ bytes.Buffer }

func (m *markdown) paragraph(s string) {
	if m.Len() > 0 {
		m.WriteByte('\n')
	}
	m.WriteString(s + "\n")
}

func (m *markdown) blocks(all []block) {
	for _, b := range all {
		switch {
		case b.Text != "":
			m.paragraph(escapeMarkdown(b.Text))
		case b.Lead != "":
			m.paragraph("**" + escapeMarkdown(b.Lead) + "**")
		case b.List != nil:
			m.list(b.List)
		case b.Table != nil:
			m.table(b.Table)
		case b.Beside != nil:
			for i := range b.Beside {
				m.table(&b.Beside[i])
			}
		case b.Figures != nil:
			for _, f := range b.Figures {
				m.paragraph(fmt.Sprintf("![%s](%s.svg)", escapeMarkdown(f.Alt), f.Path))
				m.paragraph(escapeMarkdown(f.Caption))
			}
		case b.Digits != nil:
			m.digits(b.Digits)
		case b.Code != "":
			m.paragraph("```sh\n" + strings.ReplaceAll(b.Code, "```", "` ` `") + "\n```")
		case b.Terms != nil:
			var items []string
			for _, t := range b.Terms {
				items = append(items, t.Word+": "+t.Meaning)
			}
			m.list(items)
		case b.Details != nil:
			m.paragraph("**" + escapeMarkdown(b.Details.Summary) + "**")
			m.blocks(b.Details.Blocks)
		}
	}
}

func (m *markdown) list(items []string) {
	var lines []string
	for _, item := range items {
		lines = append(lines, "- "+escapeMarkdown(item))
	}
	m.paragraph(strings.Join(lines, "\n"))
}

func (m *markdown) digits(d *digits) {
	m.paragraph(fmt.Sprintf("![%s](%s)", escapeMarkdown(d.Alt), d.Path))
	text := escapeMarkdown(d.Caption)
	var lines []string
	for _, image := range d.Images {
		if len(image.Lines) > 0 {
			lines = append(lines, strings.Join(image.Lines, ", "))
		}
	}
	if len(lines) > 0 {
		text += " From left to right and top to bottom: " + strings.Join(lines, "; ") + "."
	}
	m.paragraph(text)
}

func (m *markdown) table(t *table) {
	m.paragraph("**" + escapeMarkdown(t.Caption) + "**")
	var b strings.Builder
	for i, h := range t.Head {
		b.WriteString("| " + escapeMarkdown(h) + " ")
		if i == len(t.Head)-1 {
			b.WriteString("|\n")
		}
	}
	for i := range t.Head {
		if side(t, i) == "n" {
			b.WriteString("|---:")
		} else {
			b.WriteString("|---")
		}
	}
	b.WriteString("|\n")
	for _, r := range t.Rows {
		for _, c := range r.Cells {
			text := escapeMarkdown(c.Text)
			if c.Half != "" {
				text += " ± " + c.Half
			}
			if c.Mark != "" {
				text += " " + c.Mark
			}
			b.WriteString("| " + text + " ")
		}
		b.WriteString("|\n")
	}
	m.paragraph(strings.TrimSuffix(b.String(), "\n"))
	if len(t.Notes) > 0 {
		m.list(t.Notes)
	}
}

var markdownReplacer = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`,
	"<", "&lt;", ">", "&gt;", "|", `\|`, "&", "&amp;", "#", `\#`, "~", `\~`, "_", `\_`)

// escapeMarkdown makes a text mean itself in Markdown.
func escapeMarkdown(s string) string { return markdownReplacer.Replace(s) }
