package experiment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
	"glassnet/studies"
)

// Study is a question: a file that names experiments to compare.
type Study struct {
	Name     string   `toml:"name"`  // of its folder; the file's name when not given
	Title    string   `toml:"title"` // the name when not given
	Question string   `toml:"question"`
	Notes    []string `toml:"notes"` // what a reader of the result must know, as sentences

	Dataset   string   `toml:"dataset"`   // mnist, drawn-digits, or a folder with IDX files
	Precision string   `toml:"precision"` // float32, float64
	Seeds     []uint64 `toml:"seeds"`     // each experiment runs once with each

	Primary        string       `toml:"primary_metric"`  // of the comparisons, named before the runs
	Target         float64      `toml:"target_accuracy"` // validation accuracy that "to the target" means; 0: none
	Comparisons    []Pair       `toml:"comparison"`
	TimingRepeats  int          `toml:"timing_repeats"` // of the timing with no other run beside it; 0: none
	ShowsPublished bool         `toml:"shows_published_table"`
	StreamOrder    []string     `toml:"stream_order"` // random = numpy-legacy: experiments in the order in which they draw from one stream
	Experiments    []Definition `toml:"experiment"`

	shortenedTo int // epochs, where that is fewer than the file says; 0: it is not
}

// Definition is one experiment of a study.
type Definition struct {
	Name string `toml:"name"`
	Config
}

// Pair names two experiments to compare: b minus a.
type Pair struct {
	A       string `toml:"a"`
	B       string `toml:"b"`
	Primary bool   `toml:"primary"` // its primary metric is the study's main question
}

// studyFile is the form of a study on disk: [common] holds the settings that the
// experiments share, each [[experiment]] what it does otherwise.
type studyFile struct {
	Study
	Common Config `toml:"common"`
}

const (
	maxStudyBytes  = 1 << 20
	maxExperiments = 40
	maxSeeds       = 1000
	maxNameLength  = 64
)

// BuiltIn returns the names of the built-in studies in the order in which a
// reader should meet them.
func BuiltIn() []string { return slices.Clone(studies.Names) }

// BuiltInText returns the file of the built-in study of that name.
func BuiltInText(name string) ([]byte, error) {
	if !slices.Contains(studies.Names, name) {
		return nil, usererr.New("unknown study %q, want %s", name, usererr.List(studies.Names)).Try("glassnet studies, which lists them")
	}
	return studies.Read(name)
}

// Load returns the built-in study of that name, or reads the study file at that
// path. What the file says wrong is a user error naming file, place, got and want.
func Load(nameOrPath string) (*Study, error) {
	if slices.Contains(studies.Names, nameOrPath) {
		text, err := BuiltInText(nameOrPath)
		if err != nil {
			return nil, err
		}
		return Parse(nameOrPath, text)
	}
	if !strings.HasSuffix(nameOrPath, ".toml") {
		return nil, usererr.New("unknown study %q, want %s, or a file that ends in .toml", nameOrPath, usererr.List(studies.Names)).
			Try("glassnet studies, which lists them")
	}
	text, err := readSmall(nameOrPath)
	if user, ok := usererr.Find(err); ok && errors.Is(err, fs.ErrNotExist) {
		return nil, user.Try("glassnet studies, which lists the built-in ones")
	}
	if err != nil {
		return nil, err
	}
	return Parse(nameOrPath, text)
}

// Shorten limits every run to so many epochs, for a quick look, and where that changes a
// limit notes that the figures are then not the study's. Fewer than 1 are a user error.
func (s *Study) Shorten(epochs int) error {
	if epochs < 1 {
		return usererr.New("%d epochs, want 1 or more", epochs)
	}
	shorter := false
	for i := range s.Experiments {
		shorter = shorter || epochs < s.Experiments[i].Epochs
		s.Experiments[i].Epochs = min(s.Experiments[i].Epochs, epochs)
	}
	if shorter {
		s.shortenedTo = epochs
		s.Notes = append(s.Notes, fmt.Sprintf("Runs that would have gone on were cut short after epoch %d: these are not the study's full figures.", epochs))
	}
	return nil
}

// readSmall reads a regular file of at most maxStudyBytes.
func readSmall(path string) ([]byte, error) {
	f, _, err := inputfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxStudyBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(text) > maxStudyBytes {
		return nil, usererr.New("%s: more than %d bytes, want a TOML file of at most that", path, maxStudyBytes)
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), nil // a byte order mark, which some editors write
}

// showsForm is what to try where a study cannot be.
const showsForm = "glassnet studies corrected, which shows the form of a study"

// Parse reads the text of a study; name stands for it in errors.
func Parse(name string, text []byte) (*Study, error) {
	// Every key is checked once against the whole form, for the positions.
	file := studyFile{Common: Default()}
	file.Precision, file.Dataset, file.Primary = "float32", "mnist", "test_accuracy"
	if err := decodeStrict(name, text, &file); err != nil {
		return nil, err.Try(showsForm)
	}
	// The experiments again: each starts from the common settings.
	var raw struct {
		Experiment []map[string]any `toml:"experiment"`
	}
	if err := toml.Unmarshal(text, &raw); err != nil {
		return nil, usererr.New("%s: %w", name, err)
	}
	s := file.Study
	if s.Name == "" {
		s.Name = strings.TrimSuffix(filepath.Base(name), ".toml")
	}
	if s.Title == "" {
		s.Title = s.Name
	}
	for i, settings := range raw.Experiment {
		own, err := toml.Marshal(settings)
		if err != nil {
			return nil, usererr.New("%s: experiment %d: %w", name, i+1, err)
		}
		d := Definition{Config: file.Common}
		d.Hidden = slices.Clone(d.Hidden)
		if _, given := settings["hidden"]; given {
			d.Hidden = nil
		}
		if err := toml.Unmarshal(own, &d); err != nil {
			return nil, usererr.New("%s: experiment %d: %w", name, i+1, err)
		}
		s.Experiments[i] = d
	}
	if err := s.Validate(); err != nil {
		wrong := usererr.New("%s: %w", name, err)
		return nil, wrong.Try("%s", cmp.Or(wrong.Hint, showsForm))
	}
	return &s, nil
}

// Validate checks the study; the error names the first thing that is impossible.
func (s *Study) Validate() error {
	names := make([]string, len(s.Experiments))
	for i, e := range s.Experiments {
		names[i] = e.Name
	}
	switch {
	case !validName(s.Name):
		return usererr.New("name = %q, want 1 to %d letters, digits, - or _", s.Name, maxNameLength)
	case s.Precision != "float32" && s.Precision != "float64":
		return usererr.New("precision = %q, want %q or %q", s.Precision, "float32", "float64")
	case s.Dataset == "":
		return usererr.New("dataset is empty, want mnist, drawn-digits or a folder")
	case len(s.Experiments) < 1 || len(s.Experiments) > maxExperiments:
		return usererr.New("%d experiments, want 1 to %d", len(s.Experiments), maxExperiments)
	case len(s.Seeds) < 1 || len(s.Seeds) > maxSeeds:
		return usererr.New("%d seeds, want 1 to %d", len(s.Seeds), maxSeeds)
	case !slices.Contains(comparedMetrics(), s.Primary):
		return usererr.New("primary_metric = %q, want %s", s.Primary, usererr.List(comparedMetrics()))
	case !(s.Target >= 0 && s.Target < 1):
		return usererr.New("target_accuracy = %v, want a number in [0, 1)", s.Target)
	case s.TimingRepeats < 0 || s.TimingRepeats > 1000:
		return usererr.New("timing_repeats = %d, want 0 to 1000", s.TimingRepeats)
	}
	for i, seed := range s.Seeds {
		if slices.Contains(s.Seeds[:i], seed) {
			return usererr.New("seeds has %d twice", seed)
		}
		if seed > math.MaxInt64 {
			return usererr.New("seed %d, want at most %d", seed, int64(math.MaxInt64))
		}
		if s.usesNumpy() && seed > 1<<32-1 {
			return usererr.New("seed %d, want at most %d with random = %q", seed, uint32(1<<32-1), RandomNumpy)
		}
	}
	for i, e := range s.Experiments {
		if !validName(e.Name) {
			return usererr.New("experiment %d: name = %q, want 1 to %d letters, digits, - or _", i+1, e.Name, maxNameLength)
		}
		// Names are those of folders, and some file systems see no case.
		if slices.ContainsFunc(names[:i], func(taken string) bool { return strings.EqualFold(taken, e.Name) }) {
			return usererr.New("experiment %d: the name %q is taken", i+1, e.Name)
		}
		if err := e.Validate(); err != nil {
			return usererr.New("experiment %d (%q): %w", i+1, e.Name, err)
		}
	}
	for i, c := range s.Comparisons {
		if !slices.Contains(names, c.A) || !slices.Contains(names, c.B) || c.A == c.B {
			return usererr.New("comparison %d: a = %q, b = %q, want two of the experiments %q", i+1, c.A, c.B, names)
		}
		a, b := s.Experiments[slices.Index(names, c.A)], s.Experiments[slices.Index(names, c.B)]
		if a.Validation != b.Validation {
			return usererr.New("comparison %d: %q has validation = %v, %q has %v; runs are paired by their split, want the same", i+1, c.A, a.Validation, c.B, b.Validation)
		}
	}
	if len(s.StreamOrder) > 0 || s.usesNumpy() {
		sorted, want := slices.Sorted(slices.Values(s.StreamOrder)), slices.Sorted(slices.Values(names))
		if !slices.Equal(sorted, want) || !s.allNumpy() {
			return usererr.New("stream_order = %q, want each of the experiments %q once, all with random = %q", s.StreamOrder, names, RandomNumpy)
		}
	}
	if s.ShowsPublished && !slices.Equal(names, []string{"exp1", "exp2", "exp3"}) {
		return usererr.New("shows_published_table with the experiments %q, want exp1, exp2, exp3", names)
	}
	return nil
}

func (s *Study) usesNumpy() bool {
	return slices.ContainsFunc(s.Experiments, func(e Definition) bool { return e.Random == RandomNumpy })
}

func (s *Study) allNumpy() bool {
	return !slices.ContainsFunc(s.Experiments, func(e Definition) bool { return e.Random != RandomNumpy })
}

// validName reports whether a name may become part of a folder's name.
func validName(name string) bool {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	return name != "" && len(name) <= maxNameLength && strings.IndexFunc(name, func(r rune) bool { return !ok(r) }) < 0
}
