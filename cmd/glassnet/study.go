package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
	"glassnet/report"
)

// studyCmd runs studies, each into a table, all into one report.
type studyCmd struct {
	Studies []string `arg:"" optional:"" name:"name|file.toml" help:"Built-in studies (see glassnet studies) or study files of your own. Several share one report. Without a name: published and corrected."`
	dataFlags
	outFlag
	speedFlags
	Seed      *uint64 `placeholder:"N" help:"First seed, in place of the study's own; a study of several seeds uses N, N+1, ..."`
	Precision string  `placeholder:"TYPE" help:"float32 or float64, in place of the study's own."`
	Epochs    *int    `placeholder:"N" help:"At most N epochs per run, in place of the study's own limit: a quick look. The figures are then not the study's."`
	JSON      bool    `help:"Print results.json instead of the table (several studies: an array)."`
	Quiet     bool    `help:"No progress."`
}

// Run implements the command.
func (c *studyCmd) Run(s *session) error {
	var studies []*experiment.Study
	for _, name := range c.names() {
		study, err := experiment.Load(name)
		if err != nil {
			return err
		}
		if err := c.adapt(study); err != nil {
			return err
		}
		if slices.ContainsFunc(studies, func(s *experiment.Study) bool { return s.Name == study.Name }) {
			return usererr.New("two studies have the name %q, but each needs a folder of its own", study.Name)
		}
		studies = append(studies, study)
	}
	threads, err := c.use()
	if err != nil {
		return err
	}
	what := "study"
	if c.alone() {
		what = studies[0].Name
	}
	for _, study := range studies[1:] {
		if c.datasetOf(study) != c.datasetOf(studies[0]) {
			return usererr.New("study %q is about %q, %q about %q; one report is about one data set",
				study.Name, study.Dataset, studies[0].Name, studies[0].Dataset).Try("--dataset NAME, or one study at a time")
		}
	}
	out, release, err := c.folder(what)
	if err != nil {
		return err
	}
	defer release()
	data, err := c.load(s, c.datasetOf(studies[0]), c.Quiet || c.JSON)
	if err != nil {
		return err
	}
	return c.runAll(s, studies, data, out, threads)
}

// defaultStudies is what runs without a name: the published table, and its
// question answered properly.
var defaultStudies = []string{"published", "corrected"}

// names are those of the studies to run, as typed.
func (c *studyCmd) names() []string {
	if len(c.Studies) == 0 {
		return defaultStudies
	}
	return c.Studies
}

// alone reports whether one study was named, whose folder is then --out itself.
func (c *studyCmd) alone() bool { return len(c.Studies) == 1 }

// adapt puts the flags in place of what the study says.
func (c *studyCmd) adapt(study *experiment.Study) error {
	if c.Seed != nil {
		for i := range study.Seeds {
			study.Seeds[i] = *c.Seed + uint64(i)
			if study.Seeds[i] < *c.Seed {
				return usererr.New("--seed %d leaves no room for %d seeds", *c.Seed, len(study.Seeds))
			}
		}
	}
	if c.Precision != "" {
		study.Precision = c.Precision
	}
	if c.Dataset != "" {
		study.Dataset = c.Dataset
	}
	if c.Epochs != nil {
		if err := study.Shorten(*c.Epochs); err != nil {
			return usererr.New("--epochs: %w", err)
		}
	}
	return study.Validate()
}

// datasetOf returns the data set to load; "" lets MNIST be replaced when it
// cannot be had and nobody named it.
func (c *studyCmd) datasetOf(study *experiment.Study) string {
	if study.Dataset == "mnist" && c.Dataset == "" {
		return ""
	}
	return study.Dataset
}

func (c *studyCmd) runAll(s *session, studies []*experiment.Study, data *dataset.Data, out string, threads int) error {
	meter := newMeter(s.stderr, c.Quiet || c.JSON)
	again := s.commandLine()
	if data.Fallback { // where MNIST can be had, the same command would take it
		again += " --dataset " + data.Name
	}
	var all []*experiment.Results
	var dirs []string
	var failure, unwritten error
	for _, study := range studies {
		dir := out
		if !c.alone() {
			dir = filepath.Join(out, study.Name)
		}
		meter.note(fmt.Sprintf("study %s: %d runs on %s", study.Name, len(study.Experiments)*len(study.Seeds), data.Name))
		results, err := study.Run(s.ctx, dir, data, experiment.RunOptions{
			Threads: threads, Command: again, Progress: meter.run, Note: meter.note,
		})
		if results != nil {
			all, dirs = append(all, results), append(dirs, dir)
			unwritten = cmp.Or(unwritten, report.WriteTables(dir, results))
		}
		if err != nil {
			failure = err
			break
		}
	}
	meter.close()
	if len(all) == 0 {
		return failure
	}
	if failure != nil && !interrupted(failure) {
		return failure
	}
	// What came out is printed also where its report could not be written.
	unwritten = cmp.Or(unwritten, report.Write(out, dirs))
	if err := c.print(s.stdout, all); err != nil {
		return err
	}
	if unwritten == nil && !c.JSON {
		fmt.Fprintf(s.stdout, "report: %s\n", printable(filepath.Join(out, "report.html")))
	}
	if failure != nil {
		fmt.Fprintln(s.stderr, "interrupted: "+unfinished(studies, all))
		return cmp.Or(unwritten, failure)
	}
	if unwritten != nil {
		return unwritten
	}
	return c.checkPublished(s.stderr, all)
}

// unfinished says which studies an interruption left undone, whole or in part.
func unfinished(studies []*experiment.Study, done []*experiment.Results) string {
	var text []string
	for i, study := range studies {
		switch {
		case i >= len(done):
			text = append(text, fmt.Sprintf("study %s was not begun", study.Name))
		case done[i].Interrupted:
			text = append(text, fmt.Sprintf("study %s is unfinished: runs or their timing are missing", study.Name))
		}
	}
	return strings.Join(text, ", ")
}

func (c *studyCmd) print(w io.Writer, all []*experiment.Results) error {
	switch {
	case c.JSON && c.alone():
		return printJSON(w, all[0])
	case c.JSON:
		return printJSON(w, all)
	}
	for _, r := range all {
		fmt.Fprintf(w, "%s\n\n%s\n%s\n", printable(r.Title), report.TableText(r), report.SummaryText(r))
	}
	return nil
}

// publishedSeed is the seed of the published study.
const publishedSeed = 42

// checkPublished holds the promise that the published table comes out again: on
// MNIST, with the published seed and the study as it is.
func (c *studyCmd) checkPublished(stderr io.Writer, all []*experiment.Results) error {
	if c.Epochs != nil || c.Precision != "" || c.Seed != nil && *c.Seed != publishedSeed {
		return nil
	}
	for i, r := range all {
		builtIn := slices.Contains(experiment.BuiltIn(), c.names()[i]) // a file may have other settings
		if equal, figures := r.EqualFigures(); builtIn && r.Dataset.Name == "mnist" && equal != figures {
			fmt.Fprintf(stderr, "error: %d of %d published figures came out equal, want all\n", equal, figures)
			return errCheckFailed
		}
	}
	return nil
}

// studiesCmd lists the built-in studies, or prints one.
type studiesCmd struct {
	Name string `arg:"" optional:"" help:"Print the file of this one: the form for a study of your own."`
}

// Run implements the command.
func (c *studiesCmd) Run(s *session) error {
	if c.Name != "" {
		text, err := experiment.BuiltInText(c.Name)
		if err != nil {
			return err
		}
		_, err = s.stdout.Write(text)
		return err
	}
	for _, name := range experiment.BuiltIn() {
		study, err := experiment.Load(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.stdout, "%-15s %s (%d experiments, seeds %v)\n", name, study.Question, len(study.Experiments), study.Seeds)
	}
	return nil
}

// reportCmd writes the report of finished studies again.
type reportCmd struct {
	Dirs []string `arg:"" name:"dir" help:"Folders of finished studies, each with a results.json; a folder that holds several will do."`
	Out  string   `placeholder:"DIR" help:"Where to write report.html, report.md and plots/; must be new or empty. Default: over the report in the first DIR."`
}

// Run implements the command.
func (c *reportCmd) Run(s *session) error {
	var dirs []string
	for _, dir := range c.Dirs {
		found, err := studyFolders(dir)
		if err != nil {
			return err
		}
		for _, f := range found {
			if !slices.ContainsFunc(dirs, func(d string) bool { return sameFolder(d, f) }) {
				dirs = append(dirs, f)
			}
		}
	}
	out := c.Dirs[0]
	if c.Out != "" {
		var release func()
		var err error
		if out, release, err = (outFlag{c.Out}).folder("report"); err != nil {
			return err
		}
		defer release()
	}
	err := report.Write(out, dirs)
	if c.Out == "" && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return usererr.New("%w", err).Try("--out DIR, to write it elsewhere")
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "report: %s\n", printable(filepath.Join(out, "report.html")))
	return nil
}

func sameFolder(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// studyFolders returns dir when it holds a study, and the folders in it that do.
func studyFolders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, usererr.New("%q: %w", dir, inputfile.Cause(err))
	}
	var found []string
	for _, candidate := range append([]string{"."}, names(entries)...) {
		if _, err := os.Stat(filepath.Join(dir, candidate, "results.json")); err == nil {
			found = append(found, filepath.Join(dir, candidate))
		}
	}
	if len(found) == 0 {
		err := usererr.New("%q: no results.json there, want the folder of a finished study", dir)
		for _, below := range []string{"", "*"} {
			if models, _ := filepath.Glob(filepath.Join(dir, below, "runs", "*", "model.safetensors")); len(models) > 0 {
				return nil, err.Try("the study again: it did not end, but %d of its runs did: evaluate and explain take their models, such as %s", len(models), models[0])
			}
		}
		return nil, err
	}
	return found, nil
}

func names(entries []os.DirEntry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// versionCmd prints the version.
type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(s *session) error {
	fmt.Fprintln(s.stdout, versionLine())
	return nil
}

func versionLine() string { return "glassnet " + experiment.Version() }
