package report

import (
	"path/filepath"
	"testing"
	"os"
)

func TestPreview(t *testing.T) {
	out := os.Getenv("PREVIEW")
	if out == "" { t.Skip() }
	p := publishedFixture().write(t, filepath.Join(out, "published"))
	c := correctedFixture().write(t, filepath.Join(out, "corrected"))
	if err := Write(out, []string{c, p}); err != nil { t.Fatal(err) }
	t.Log("\n" + TableText(&publishedFixture().results) + SummaryText(&publishedFixture().results))
	t.Log("\n" + TableText(&correctedFixture().results)+ SummaryText(&correctedFixture().results))
	t.Log("\n" + string(TableCSV(&correctedFixture().results))+ string(TableCSV(&publishedFixture().results)))
	t.Log("\n" + string(TableLaTeX(&correctedFixture().results))+ string(TableLaTeX(&publishedFixture().results)))
}
