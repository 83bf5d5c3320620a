package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"glassnet/experiment"
	"glassnet/internal/usererr"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden compares got with the file testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range gotLines {
		if i >= len(wantLines) || gotLines[i] != wantLines[i] {
			w := "nothing"
			if i < len(wantLines) {
				w = wantLines[i]
			}
			t.Fatalf("%s, line %d:\ngot  %s\nwant %s\n(go test -update writes it anew)", path, i+1, gotLines[i], w)
		}
	}
	t.Fatalf("%s: got %d lines, want %d", path, len(gotLines), len(wantLines))
}

// report writes the fixtures' report and returns its folder, page and Markdown.
func report(t *testing.T, fixtures ...*fixture) (dir, page, markdown string) {
	t.Helper()
	dir = t.TempDir()
	var dirs []string
	for i, f := range fixtures {
		dirs = append(dirs, f.write(t, filepath.Join(dir, fmt.Sprint("study", i))))
	}
	if err := Write(dir, dirs); err != nil {
		t.Fatalf("Write: %v", err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	page, markdown = read("report.html"), read("report.md")
	checkPage(t, page)
	checkLinks(t, dir, markdown)
	return dir, page, markdown
}

// pageOf makes the fixtures' page and Markdown without writing them.
func pageOf(t *testing.T, fixtures ...*fixture) (page, markdown string) {
	t.Helper()
	dir := t.TempDir()
	var dirs []string
	for i, f := range fixtures {
		dirs = append(dirs, f.write(t, filepath.Join(dir, fmt.Sprint("study", i))))
	}
	doc, err := read(dirs)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	html, err := renderHTML(doc)
	if err != nil {
		t.Fatalf("renderHTML: %v", err)
	}
	checkPage(t, string(html))
	for _, f := range doc.Files {
		if strings.HasSuffix(f.path, ".svg") {
			var b bytes.Buffer
			if err := f.write(&b); err != nil {
				t.Errorf("%s: %v", f.path, err)
			}
			if err := xml.Unmarshal(b.Bytes(), new(struct{})); err != nil {
				t.Errorf("%s is not well-formed: %v", f.path, err)
			}
		}
	}
	return string(html), string(renderMarkdown(doc))
}

// checkPage holds for every report: well-formed, self-contained, without script,
// with texts for images, headings in order and a table of contents that leads
// somewhere.
func checkPage(t *testing.T, page string) {
	t.Helper()
	if !strings.Contains(page, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`) {
		t.Error("page has no Content-Security-Policy that forbids all but styles and data images")
	}
	if m := regexp.MustCompile(`(?i)<script|<iframe|<object|<link|@import|url\(`).FindString(page); m != "" {
		t.Errorf("page contains %q", m)
	}
	if m := regexp.MustCompile(`#[0-9A-F]{6}\b`).FindString(page); m != "" {
		t.Errorf("page has the fixed colour %s, want variables in inlined plots", m)
	}
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	ids, depth, level := map[string]bool{}, 0, 0
	var links []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("page is not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			depth++
			attributes := map[string]string{}
			for _, a := range e.Attr {
				attributes[a.Name.Local] = a.Value
				if strings.HasPrefix(strings.ToLower(a.Name.Local), "on") {
					t.Errorf("<%s> has the handler %s", e.Name.Local, a.Name.Local)
				}
			}
			switch name := e.Name.Local; name {
			case "img":
				if attributes["alt"] == "" || !strings.HasPrefix(attributes["src"], "data:image/png;base64,") {
					t.Errorf("<img> with alt %q and src %.40q, want a text and a data image", attributes["alt"], attributes["src"])
				}
			case "svg":
				if attributes["aria-label"] == "" || attributes["viewBox"] == "" {
					t.Errorf("<svg> with label %q and viewBox %q, want both", attributes["aria-label"], attributes["viewBox"])
				}
			case "a":
				links = append(links, attributes["href"])
			case "h1", "h2", "h3":
				if now := int(name[1] - '0'); now > level+1 {
					t.Errorf("<%s> follows <h%d>", name, level)
				} else {
					level = now
				}
			}
			if id := attributes["id"]; id != "" {
				if ids[id] {
					t.Errorf("id %q occurs twice", id)
				}
				ids[id] = true
			}
		case xml.EndElement:
			depth--
		}
	}
	if depth != 0 {
		t.Errorf("page leaves %d elements open", depth)
	}
	for _, link := range links {
		if !strings.HasPrefix(link, "#") || !ids[link[1:]] {
			t.Errorf("link to %q leads nowhere in the page", link)
		}
	}
}

// checkLinks looks for the files that the Markdown shows, for their PNG twins,
// and for well-formed SVG.
func checkLinks(t *testing.T, dir, markdown string) {
	t.Helper()
	for _, m := range regexp.MustCompile(`!\[[^\]]*\]\(([^)]*)\)`).FindAllStringSubmatch(markdown, -1) {
		path := filepath.Join(dir, m[1])
		data, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("report.md shows %s: %v", m[1], err)
			continue
		}
		if svg, ok := strings.CutSuffix(path, ".svg"); ok {
			if err := xml.Unmarshal(data, new(struct{})); err != nil {
				t.Errorf("%s is not well-formed: %v", m[1], err)
			}
			path = svg + ".png"
		}
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		f.Close()
	}
}

func want(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q", what, p)
		}
	}
}

func wantNot(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(text, p) {
			t.Errorf("%s contains %q", what, p)
		}
	}
}

func TestReportOfBothStudies(t *testing.T) {
	// Given in the wrong order: the replay comes first all the same.
	dir, page, markdown := report(t, correctedFixture(), publishedFixture())
	golden(t, "report.md", []byte(markdown))
	want(t, "report.html", page, "All 21 published figures come out again, digit for digit", "prefers-color-scheme: dark", "W_1 (20, 784)", "B_4 (10, 1)", "predictions (10, 128)")
	if replay, answer := strings.Index(page, `id="study-published"`), strings.Index(page, `id="study-corrected"`); replay < 0 || answer < replay {
		t.Errorf("sections begin at %d (published) and %d (corrected), want the replay first", replay, answer)
	}
	wantNot(t, "report.html", page, `class="notice"`)

	// Equal files give equal reports.
	again, _, _ := report(t, correctedFixture(), publishedFixture())
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		relative, _ := filepath.Rel(dir, path)
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(again, relative))
		if err == nil && !bytes.Equal(a, b) {
			t.Errorf("%s differs between two reports of the same files", relative)
		}
		return err
	})
	if err != nil || files < 50 {
		t.Errorf("compared %d files, error %v", files, err)
	}
}

func TestReportSaysWhatTheNumbersSay(t *testing.T) {
	tests := []struct {
		name        string
		change      func(*fixture)
		want, never []string
	}{
		{"a figure differs", func(f *fixture) {
			figure := &f.results.Published[1].Figures[2]
			figure.Ours, figure.Equal = "0.808", false
		}, []string{"20 of 21 published figures come out again. Different: exp2 Train Accuracy: published 0.807, ours 0.808.", "≠"}, []string{"All 21"}},
		{"a row that was interrupted", func(f *fixture) {
			f.results.Experiments[1].Runs[0].Stopped = "interrupted"
			figure := &f.results.Published[1].Figures[2]
			figure.Ours, figure.Equal = "0.808", false
		}, []string{"exp2 did not come to an end, so nothing of the published table is compared with what there is of it; of the other 14 figures 14 come out again."},
			[]string{"All 21", "0.807 ≠", "Different:"}},
		{"not MNIST, by choice", func(f *fixture) { f.results.Dataset.Name = "letters" },
			[]string{"ran on letters, not on the MNIST", "cannot come out again"}, []string{"All 21"}},
		{"fallback", func(f *fixture) { f.results.Dataset.Name, f.results.Dataset.Fallback = "drawn-digits", true },
			[]string{"MNIST could not be had", "cannot equal the published ones", `class="notice"`}, []string{"All 21"}},
		{"weights did not grow", func(f *fixture) {
			f.results.Experiments[1].Runs[0].SumOfWeights = ptr(25)
			rows := f.histories["runs/exp2-seed42"]
			for i := range rows[1:] {
				copy(rows[i+1][8:], []string{"39", "4", "3", "4.4"})
			}
		}, []string{"here the weights did not run away", "No layer&#39;s norm doubles"}, []string{"nothing holds it"}},
		{"gradients right", func(f *fixture) { f.evidence["runs/exp2-seed42"].Failed = 0 },
			[]string{"All 36 gradients of exp2 checked against finite differences are right"}, []string{"Its gradient is wrong"}},
		{"twin fails too", func(f *fixture) { e := f.evidence["runs/exp2-seed42"]; e.TwinFailed, e.TwinWorst = 2, ptr(0.5) },
			[]string{"With batch norm in its place 2 fail, the worst by 0.50"}, []string{"none fails"}},
		{"twin that could not be checked", func(f *fixture) { e := f.evidence["runs/exp2-seed42"]; e.TwinChecks, e.TwinWorst = nil, nil },
			[]string{"With batch norm in its place nothing could be checked"}, []string{"none fails", "(worst"}},
		{"gradients that are not finite", func(f *fixture) {
			e := f.evidence["runs/exp2-seed42"]
			e.Failed, e.WorstRelative = 0, nil
			e.Checks[0].Analytic, e.Checks[1].Numeric, e.TwinChecks[3].Numeric = nil, nil, nil
		}, []string{"36 gradients of exp2, the largest of each layer but the last, checked against finite differences 2 fail, 2 of them without a finite number. For 1.dense.weight[380, 0] Backward says – where",
			"in its place 1 fail, 1 of them without a finite number", `<th scope="row">1.dense.weight[380, 0]</th><td class="n">–</td>`}, []string{"differences are right", "none fails"}},
		{"no worst gradient", func(f *fixture) {
			e := f.evidence["runs/exp2-seed42"]
			e.WorstRelative, e.TwinWorst = nil, nil
		}, []string{"36 fail, the worst by a relative difference of –.", "none fails (worst –)"}, nil},
		{"two gradients are both 0", func(f *fixture) {
			e := f.evidence["runs/exp2-seed42"]
			e.Checks = []experiment.GradientCheck{{Parameter: "p", Analytic: ptr(0), Numeric: ptr(0)}}
			e.Failed = 0
		}, []string{"right, to a relative difference of 1.7"}, []string{"NaN"}},
		{"a quick look", func(f *fixture) {
			f.results.ShortenedTo = 3
			figure := &f.results.Published[1].Figures[2]
			figure.Ours, figure.Equal = "0.808", false
		}, []string{"Runs were cut short after epoch 3, so the published figures cannot come out again; 20 of 21 are equal.", "A quick look: runs were cut short after epoch 3."},
			[]string{"Different: exp2"}},
		{"other stop rule", func(f *fixture) { f.results.Experiments[1].Config.Stop = experiment.StopNone },
			[]string{"Two things are wrong with it:"}, []string{"Three things", "A stop rule that fires", "The stop rule at work"}},
		{"other activation behind which it stands", func(f *fixture) {
			c := &f.results.Experiments[1].Config
			c.Place, c.Activation = experiment.PlaceAfter, "tanh"
		}, []string{"knows neither the mean nor the size of what went in"}, []string{"divides the factor out"}},
		{"several splits", func(f *fixture) { f.results.Experiments[2].Config.Validation = 0.1 },
			[]string{"0.2 / 0.1", "Other experiments set aside other shares for validation"}, nil},
		{"no twin", func(f *fixture) {
			e := f.evidence["runs/exp2-seed42"]
			e.Twin, e.TwinChecks, e.Checks = "", nil, e.Checks[:5]
		},
			[]string{"5 gradients of exp2"}, []string{"in its place, in the same network"}},
		{"no evidence", func(f *fixture) { f.evidence = nil }, []string{"A missing derivative"}, []string{"Its gradient is wrong"}},
		{"empty evidence", func(f *fixture) { f.evidence["runs/exp2-seed42"].Checks = nil }, []string{"The gradients of exp2 were not checked."}, nil},
		{"lambda that shows", func(f *fixture) { f.results.Experiments[2].Runs[0].Penalty = ptr(0.02) },
			[]string{"It ends at 0.020 beside"}, []string{"it changes nothing that can be measured"}},
		{"no stop by the rule", func(f *fixture) {
			for i := range f.results.Experiments {
				f.results.Experiments[i].Runs[0].Stopped = "max_epochs"
			}
		}, []string{"No run of this study was stopped by that rule."}, []string{"The stop rule at work"}},
		{"interrupted", func(f *fixture) { f.results.Interrupted = true }, []string{"was interrupted: this report shows"}, nil},
		{"no comparison rows", func(f *fixture) { f.results.Published[0].Figures = nil; f.results.Published = f.results.Published[:1] },
			[]string{"No published figure could be compared."}, nil},
		{"published normalisation elsewhere", func(f *fixture) { f.results.Published = nil },
			[]string{"What the published normalisation does", "per ex."}, []string{"costs thirteen points"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := publishedFixture()
			test.change(f)
			page, _ := pageOf(t, f)
			want(t, "report.html", page, test.want...)
			wantNot(t, "report.html", page, test.never...)
		})
	}
}

func TestReportOfOddStudies(t *testing.T) {
	tests := []struct {
		name   string
		make   func() *fixture
		want   []string
		wantNo []string
	}{
		{"one experiment, one seed", func() *fixture {
			f := correctedFixture()
			f.results.Experiments = f.results.Experiments[:1]
			e := &f.results.Experiments[0]
			e.Runs = e.Runs[:1]
			e.Summary = summaries(e.Runs)
			f.results.Comparisons, f.results.Target, f.results.Title, f.results.Question = nil, nil, "", ""
			return f
		}, []string{"Study corrected", "plain reaches a test accuracy of 0.9", "Each experiment ran once."}, nil},
		{"no comparison asked for", func() *fixture { f := correctedFixture(); f.results.Comparisons = nil; return f },
			[]string{"Test accuracy goes from 0.936"}, []string{"Paired differences"}},
		{"nothing shown by comparisons", func() *fixture {
			f := correctedFixture()
			for i := range f.results.Comparisons {
				f.results.Comparisons[i].PHolm = ptr(0.5)
			}
			return f
		}, []string{"Of 23 comparisons beside the main question none shows a difference"}, nil},
		{"a target that no run reached", func() *fixture {
			f := correctedFixture()
			for i := range f.results.Experiments {
				e := &f.results.Experiments[i]
				for k := range e.Runs {
					e.Runs[k].StepsToTarget, e.Runs[k].SecondsToTarget = nil, nil
				}
				e.Summary = summaries(e.Runs)
			}
			for i := range f.results.Comparisons {
				c := &f.results.Comparisons[i]
				if c.PHolm = ptr(0.5); strings.HasSuffix(c.Metric, "_to_target") {
					c.Difference, c.CI95, c.N, c.P, c.PHolm, c.Finding = nil, [2]*float64{}, 0, nil, nil, "To the target: nothing."
				}
			}
			return f
		}, []string{"Of 13 comparisons beside the main question none shows", "No run reached the target, validation accuracy 0.93: "},
			[]string{"To the target: nothing.", "Steps to the target accuracy"}},
		{"a primary measure without a direction", func() *fixture {
			f := correctedFixture()
			f.results.Primary, f.results.Comparisons = "penalty", nil
			for i := range f.results.Experiments {
				f.results.Experiments[i].Summary["penalty"] = experiment.Summary{Mean: ptr(0.04), N: 5}
			}
			return f
		}, []string{"Penalty, the primary measure."}, []string{"()"}},
		{"diverged and interrupted", func() *fixture {
			f := correctedFixture()
			runs := f.results.Experiments[0].Runs
			runs[0].Stopped, runs[0].Diverged = "diverged", "epoch 3, step 1000, rate 0.3: cost is not finite"
			runs[0].TestAccuracy, runs[0].ValCost = nil, nil
			runs[0].TrainAccuracy, runs[0].ValAccuracy, runs[0].TrainCost, runs[0].TestCost, runs[0].SumOfWeights = nil, nil, nil, nil, nil
			runs[1].Stopped, runs[1].StepsToTarget, runs[1].SecondsToTarget = "interrupted", nil, nil
			delete(f.evals, runs[0].Dir)
			delete(f.histories, runs[1].Dir)
			f.results.Experiments[0].Summary = summaries(runs)
			f.results.Experiments[3].Runs = []experiment.Run{}
			f.results.Experiments[3].Summary = nil
			f.results.Experiments[3].Timing = nil
			f.results.Experiments[1].Timing = nil
			return f
		}, []string{"Mean over 5 seeds, of plain over 3, of batch-norm-l2 over 0;", "1 run diverged and was left out", "plain, seed 1, diverged: epoch 3, step 1000, rate 0.3: cost is not finite.",
			"plain, seed 2, was interrupted after", "batch-norm-l2 has no finished run.", "Never reached, and left out: plain in 1 of 5 runs."}, nil},
		{"every figure null", func() *fixture {
			f := correctedFixture()
			for i := range f.results.Experiments {
				e := &f.results.Experiments[i]
				e.Summary, e.Timing, e.Layers = nil, nil, nil
				for k := range e.Runs {
					r := &e.Runs[k]
					*r = experiment.Run{Seed: r.Seed, Dir: r.Dir, Stopped: "patience"}
					rows := f.histories[r.Dir]
					for _, row := range rows[1:] {
						for c := 2; c < len(row); c++ {
							row[c] = ""
						}
					}
					f.evals[r.Dir] = &experiment.Evaluation{PerClass: []experiment.ClassScore{{Class: 0, Support: 3}, {Class: 1}}}
				}
			}
			for i := range f.results.Comparisons {
				c := &f.results.Comparisons[i]
				*c = experiment.Comparison{Metric: c.Metric, A: c.A, B: c.B, Primary: c.Primary}
			}
			f.results.Dataset = experiment.DatasetInfo{Name: "none"}
			return f
		}, []string{"No run was finished, so there is no answer yet.", "Never predicted at all: 0."}, []string{"<svg"}},
		{"forty experiments, long names", func() *fixture {
			f := newFixture()
			f.results = experiment.Results{Study: "forty", Dataset: fixtureDataset(), Primary: "val_cost", Seeds: []uint64{1, 2}}
			for i := range 40 {
				e := experiment.Experiment{Name: fmt.Sprintf("experiment-%d-%s", i, strings.Repeat("x", 50)), Normalisation: "none", Config: fixtureConfig("none", 0)}
				f.addRun(&e, 1, 2, 1, 0.3, 0.9+float64(i)/1000)
				f.addRun(&e, 2, 3, 1, 0.3, 0.9+float64(i)/1000)
				e.Summary = summaries(e.Runs)
				f.results.Experiments = append(f.results.Experiments, e)
			}
			return f
		}, []string{"experiment-39-", "Validation cost in nats, the primary measure (lower is better)."}, nil},
		{"costs beyond any linear axis, and a thousand epochs more than are drawn", func() *fixture {
			f := correctedFixture()
			run := &f.results.Experiments[0].Runs[0]
			rows := [][]string{historyHead}
			for i := range 2500 {
				rows = append(rows, []string{fmt.Sprint(i + 1), fmt.Sprint(i + 1), "1e300", "0.1", fmt.Sprintf("%de%d", i+1, i%30), "0.1", "0", "1", "1", "1", "1", "1"})
			}
			f.histories[run.Dir] = rows
			return f
		}, []string{"cost (nats), logarithmic"}, nil},
		{"many classes, no validation", func() *fixture {
			f := correctedFixture()
			f.results.Dataset.PerClass = nil
			for c := range 200 {
				f.results.Dataset.PerClass = append(f.results.Dataset.PerClass, experiment.ClassCount{Class: c, Train: c})
			}
			f.results.Dataset.Classes = 200
			for _, e := range f.evals {
				e.Confusion = make([][]int, 200)
				for i := range e.Confusion {
					e.Confusion[i] = make([]int, 200)
				}
				e.Confusion[3][5] = 1
			}
			for _, rows := range f.histories {
				for _, row := range rows[1:] {
					row[4], row[5] = "", ""
				}
			}
			return f
		}, []string{"Examples per part and class", "The most frequent mistake: 3 taken for 5, once."}, []string{`class="confusion"`, "The validation cost is lowest"}},
		{"many seeds", func() *fixture {
			f := correctedFixture()
			e := &f.results.Experiments[0]
			for seed := range uint64(25) {
				f.addRun(e, 100+seed, 2, 1, 0.3, 0.9)
				f.results.Seeds = append(f.results.Seeds, 100+seed)
			}
			return f
		}, []string{"first 20 seeds", "30, from 1 to 124"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			page, _ := pageOf(t, test.make())
			want(t, "report.html", page, test.want...)
			wantNot(t, "report.html", page, test.wantNo...)
		})
	}
}

func TestTwoStudiesOfOneName(t *testing.T) {
	other := correctedFixture()
	other.results.Dataset.Fallback, other.results.Dataset.Name = true, "drawn-digits"
	dir, page, _ := report(t, correctedFixture(), other)
	want(t, "report.html", page, "Report of 2 studies", "The study corrected ran on drawn-digits")
	for _, name := range []string{"corrected-overlay-validation.svg", "corrected-2-overlay-validation.svg"} {
		if _, err := os.Stat(filepath.Join(dir, "plots", name)); err != nil {
			t.Error(err)
		}
	}
}

// TestNothingFromFilesIsMarkup puts markup and control characters into every
// string of the files.
func TestNothingFromFilesIsMarkup(t *testing.T) {
	const evil = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'|`*_[x](javascript:y) \x1b[31m \u202e ${}%&#\\"
	for _, f := range []*fixture{publishedFixture(), correctedFixture()} {
		r := &f.results
		for i := range r.Experiments {
			e := &r.Experiments[i]
			old := e.Name
			e.Name = old + evil
			e.Config.Activation, e.Config.Stop = evil, evil
			if len(e.Layers) > 0 {
				e.Layers[0].Kind = evil
			}
			e.Runs[0].Stopped, e.Runs[0].Diverged = "diverged", evil
			for k := range r.Published {
				if r.Published[k].Experiment == old {
					r.Published[k].Experiment = e.Name
					r.Published[k].Figures[0].Published, r.Published[k].Figures[1].Ours, r.Published[k].Figures[1].Equal = evil, evil, false
				}
			}
			for k := range r.Comparisons {
				c := &r.Comparisons[k]
				for _, p := range []*string{&c.A, &c.B} {
					if *p == old {
						*p = e.Name
					}
				}
				c.Finding = evil
			}
		}
		for _, p := range []*string{&r.Study, &r.Title, &r.Question, &r.Dataset.Name, &r.Dataset.Origin, &r.Dataset.SHA256, &r.Precision,
			&r.Machine.CPU, &r.Machine.OS, &r.Machine.Kernel, &r.Machine.Go, &r.Glassnet, &r.Command} {
			*p = evil
		}
		r.Notes = []string{evil}
		for _, e := range f.evidence {
			e.Layer, e.Twin, e.Tolerance, e.Checks[0].Parameter = evil, evil, evil, evil
		}
		for dir, rows := range f.histories {
			rows[0][8] = "norm_" + strings.ReplaceAll(evil, "\n", " ")
			f.histories[dir] = rows
		}
		page, markdown := pageOf(t, f)                                                      // checkPage looks for scripts, handlers and links
		markdown = regexp.MustCompile("(?s)```sh\n.*?\n```").ReplaceAllString(markdown, "") // commands are shown as they are
		for what, text := range map[string]string{"report.html": page, "report.md": markdown, "TableText": TableText(r), "SummaryText": SummaryText(r),
			"TableLaTeX": string(TableLaTeX(r)), "TableCSV": string(TableCSV(r))} {
			wantNot(t, what, text, "\x1b", "\u202e")
		}
		wantNot(t, "report.html", page, "<script", "<img src=x")
		wantNot(t, "report.md", markdown, "<script", "<img")
		if m := regexp.MustCompile(`[^\\]\]\(javascript`).FindString(markdown); m != "" {
			t.Errorf("report.md has the link %q", m)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	const history = "runs/exp1-seed42/history.csv"
	overwrite := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	change := func(edit func(*fixture)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			f := publishedFixture()
			edit(f)
			f.write(t, dir)
		}
	}
	head := strings.Join(historyHead, ",") + "\n"
	tests := []struct {
		name  string
		spoil func(*testing.T, string)
		want  []string
	}{
		{"no results", remove("results.json"), []string{"results.json", "no such file or directory"}},
		{"no evaluation", remove("runs/exp1-seed42/evaluation.json"), []string{"evaluation.json", "no such file or directory"}},
		{"no history", remove(history), []string{"history.csv", "no such file or directory"}},
		{"cut results", overwrite("results.json", `{"study": "x", "exper`), []string{"results.json", "byte 21", "not valid JSON"}},
		{"trailing bytes", overwrite("results.json", `{} {}`), []string{"results.json", "byte 4"}},
		{"wrong type", overwrite("results.json", `{"seconds": "long"}`), []string{"results.json", "byte 18", "seconds", "got a string", "want a float64"}},
		{"wrong time", overwrite("results.json", `{"started": "yesterday"}`), []string{"results.json", "yesterday"}},
		{"no experiments", overwrite("results.json", `{}`), []string{"experiments: got 0, want 1 to 100"}},
		{"nameless", change(func(f *fixture) { f.results.Experiments[1].Name = "" }), []string{"experiments[1].name", "empty"}},
		{"twice the same name", change(func(f *fixture) { f.results.Experiments[2].Name = "exp1" }), []string{`experiments[2].name: got "exp1" twice`}},
		{"folder outside", change(func(f *fixture) { f.results.Experiments[0].Runs[0].Dir = "../../etc" }), []string{`got "../../etc", want a folder inside`}},
		{"sample of another size", change(func(f *fixture) { f.results.Dataset.Samples[0].Pixels = []byte{1} }), []string{"dataset.samples", "got 1 pixels, want width x height = 28 x 28"}},
		{"absurd size", change(func(f *fixture) {
			f.results.Dataset.Width, f.results.Dataset.Height = 1<<(bits.UintSize/2), 1<<(bits.UintSize/2)
		}), []string{"dataset.samples", "want width x height"}},
		{"mistake of another size", change(func(f *fixture) { f.evals["runs/exp1-seed42"].Mistakes[3].Pixels = nil }), []string{"evaluation.json", "mistakes: example 103: got 0 pixels"}},
		{"ragged confusion", change(func(f *fixture) { e := f.evals["runs/exp1-seed42"]; e.Confusion[4] = e.Confusion[4][:7] }), []string{"evaluation.json", "confusion[4]: got 7 columns, want 10"}},
		{"broken evidence", overwrite("runs/exp2-seed42/evidence.json", "["), []string{"evidence.json", "byte 1"}},
		{"empty history", overwrite(history, ""), []string{"history.csv", "byte 0", "empty"}},
		{"history without a column", overwrite(history, "epoch,step,train_cost\n1,2,3\n"), []string{"history.csv", "line 1", `no column "val_cost"`}},
		{"ragged history", overwrite(history, head+"1,2\n"), []string{"history.csv", "line 2", "wrong number of fields"}},
		{"word in history", overwrite(history, head+"1,100,low,0.1,2,0.1,0,1,1,1,1,1\n"), []string{"history.csv", "line 2", `column "train_cost"`, `got "low"`}},
		{"half an epoch", overwrite(history, head+"1.5,100,2,0.1,2,0.1,0,1,1,1,1,1\n"), []string{"history.csv", "line 2", `column "epoch"`, `got "1.5"`}},
		{"epochs back", overwrite(history, head+"2,100,2,0.1,2,0.1,0,1,1,1,1,1\n1,200,2,0.1,2,0.1,0,1,1,1,1,1\n"), []string{"history.csv", "line 3", "got 1 after 2"}},
		{"folder as file", func(t *testing.T, dir string) {
			remove(history)(t, dir)
			if err := os.Mkdir(filepath.Join(dir, history), 0o777); err != nil {
				t.Fatal(err)
			}
		}, []string{"history.csv", "is a folder, want a file"}},
		{"oversized", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "results.json"), maxJSON+1); err != nil {
				t.Fatal(err)
			}
		}, []string{"results.json", "got 67108865 bytes, want at most 67108864"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			dir := publishedFixture().write(t, filepath.Join(t.TempDir(), "published"))
			test.spoil(t, dir)
			err := Write(out, []string{dir})
			if err == nil {
				t.Fatal("Write: got no error")
			}
			if _, ok := usererr.Find(err); !ok {
				t.Errorf("Write: %v is no user error", err)
			}
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("Write: error has several lines: %q", err)
			}
			want(t, "error "+err.Error(), err.Error(), test.want...)
			if entries, _ := os.ReadDir(out); len(entries) > 0 {
				t.Errorf("Write left %v behind after an error", entries)
			}
		})
	}
}

// What a report that was killed has left is gone after the next one.
func TestLeftoversAreSwept(t *testing.T) {
	dir := publishedFixture().write(t, filepath.Join(t.TempDir(), "published"))
	left := []string{filepath.Join(dir, ".report.md.tmp-ABCDEFGHIJKLMNOPQRSTUVWXYZ"), filepath.Join(dir, "plots", ".a.png.tmp-ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
	if err := os.MkdirAll(filepath.Join(dir, "plots"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if err := os.WriteFile(path, []byte("half"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(dir, []string{dir}); err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

func TestWriteNeedsAPlace(t *testing.T) {
	if err := Write(t.TempDir(), nil); err == nil {
		t.Error("Write without folders: got no error")
	}
	dir := publishedFixture().write(t, filepath.Join(t.TempDir(), "published"))
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	err := Write(blocked, []string{dir})
	if _, ok := usererr.Find(err); err == nil || ok {
		t.Errorf("Write into a file: got %v, want an error that is not the user's files'", err)
	}
	out := t.TempDir()
	if err := os.Mkdir(filepath.Join(out, "report.md"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Write(out, []string{dir}); err == nil || !strings.Contains(err.Error(), "report.md") {
		t.Errorf("Write over a folder: got %v, want an error about report.md", err)
	}
}

func TestMissingFilesAreNotUnexpectedForUnfinishedRuns(t *testing.T) {
	f := correctedFixture()
	run := &f.results.Experiments[0].Runs[0]
	run.Stopped = "interrupted"
	delete(f.histories, run.Dir)
	dir := f.write(t, filepath.Join(t.TempDir(), "s"))
	s, err := load(dir)
	if err != nil || s.files[0][0].evaluation != nil || len(s.files[0][0].epochs) != 0 {
		t.Errorf("load: %v, %+v", err, s)
	}
	run.Stopped = "patience"
	dir = f.write(t, filepath.Join(t.TempDir(), "s"))
	if _, err := load(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("load of a finished run without its files: got %v", err)
	}
}
