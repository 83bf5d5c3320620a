// Package report turns finished studies into something to read: a page, its
// Markdown twin, plots and tables. All of it is a pure function of the result
// files: the same files give the same bytes.
package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"glassnet/experiment"
	"glassnet/internal/atomicfile"
	"glassnet/internal/usererr"
)

// Write reads the finished studies in dirs and writes report.html, report.md and
// the folder plots (each plot as SVG and PNG) into the folder out, which it makes
// if need be. Each of dirs holds results.json, and for each run a history.csv, an
// evaluation.json and, for the published normalisation, an evidence.json; runs
// that were interrupted or diverged may lack theirs. Studies that replay the
// published table come first, others keep their order.
//
// Nothing is written unless all studies could be read. Errors name the file and the
// place; those of missing or wrong files are user errors.
func Write(out string, dirs []string) error {
	if len(dirs) == 0 {
		return usererr.New("got no folder, want at least one with a finished study")
	}
	doc, err := read(dirs)
	if err != nil {
		return err
	}
	page, err := renderHTML(doc)
	if err != nil {
		return fmt.Errorf("render report.html: %w", err)
	}
	files := append(doc.Files, holding("report.md", renderMarkdown(doc)), holding("report.html", page))
	if err := os.MkdirAll(filepath.Join(out, "plots"), 0o777); err != nil {
		return fmt.Errorf("make folder %q: %w", filepath.Join(out, "plots"), err)
	}
	for _, dir := range []string{out, filepath.Join(out, "plots")} {
		if err := atomicfile.Sweep(dir); err != nil { // of a report that was killed
			return err
		}
	}
	for _, f := range files {
		if err := atomicfile.Write(filepath.Join(out, filepath.FromSlash(f.path)), f.write); err != nil {
			return err
		}
	}
	return nil
}

// WriteTables writes results.csv and results.tex, the printed table of a study, into dir.
func WriteTables(dir string, r *experiment.Results) error {
	for name, content := range map[string][]byte{"results.csv": TableCSV(r), "results.tex": TableLaTeX(r)} {
		if err := atomicfile.Write(filepath.Join(dir, name), holding(name, content).write); err != nil {
			return err
		}
	}
	return nil
}

// read makes the document over the studies in dirs.
func read(dirs []string) (*document, error) {
	var studies []*study
	for _, dir := range dirs {
		s, err := load(dir)
		if err != nil {
			return nil, err
		}
		studies = append(studies, s)
	}
	slices.SortStableFunc(studies, func(a, b *study) int {
		switch {
		case isReplay(a) && !isReplay(b):
			return -1
		case isReplay(b) && !isReplay(a):
			return 1
		}
		return 0
	})
	nameStudies(studies)
	return build(studies)
}

// nameStudies gives studies and experiments the names of their files and anchors.
func nameStudies(studies []*study) {
	var names []string
	for _, s := range studies {
		names = append(names, s.Study)
		var experiments []string
		for _, e := range s.Experiments {
			experiments = append(experiments, e.Name)
		}
		s.experimentSlugs = distinct(experiments)
	}
	for i, slug := range distinct(names) {
		studies[i].slug = slug
	}
}
