package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"glassnet/dataset"
	"glassnet/internal/atomicfile"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// dataFlags say which data to use.
type dataFlags struct {
	Data    string `placeholder:"DIR" help:"Folder of data sets, searched first (it holds mnist/train-images-idx3-ubyte and so on); after it $GLASSNET_DATA."`
	Dataset string `placeholder:"NAME|PATH" help:"mnist, drawn-digits, or a folder with the four IDX files."`
}

// load finds, fetches or draws the data set; an empty name is MNIST, or
// drawn-digits when MNIST cannot be had.
func (f dataFlags) load(s *session, name string, quiet bool) (*dataset.Data, error) {
	bars := newMeter(s.stderr, quiet)
	defer bars.close()
	return dataset.Load(s.ctx, name, dataset.Options{
		Dir:      f.Data,
		Progress: bars.bytes,
		Warn:     func(line string) { fmt.Fprintln(s.stderr, line) },
	})
}

// speedFlags change how fast something is done, never what comes out.
type speedFlags struct {
	Threads *int `placeholder:"N" help:"Cores to use, where more than one helps; all of them by default. The result does not depend on it."`
	kernelFlag
}

// use chooses the kernel and returns the number of threads.
func (f speedFlags) use() (threads int, err error) {
	if f.Threads == nil {
		return runtime.GOMAXPROCS(0), f.apply() // fewer than the machine has in a container
	}
	if *f.Threads < 1 || *f.Threads > 1024 {
		return 0, usererr.New("--threads %d, want 1 to 1024", *f.Threads)
	}
	return *f.Threads, f.apply()
}

// outFlag is the folder for results.
type outFlag struct {
	Out string `placeholder:"DIR" help:"Folder for the results; must be new or empty. Default: glassnet-out/<what>-<UTC time>."`
}

// running is the file that stands in a folder while a command writes into it, so that
// another one finds the folder taken.
const running = ".running"

// folder makes a folder for what a command will write, or refuses one that holds
// something. Two commands never get the same one. release takes away what it made and is empty.
func (f outFlag) folder(what string) (dir string, release func(), err error) {
	if f.Out == "" {
		const parent = "glassnet-out"
		dir, err := atomicfile.NewFolder(parent, what+"-"+time.Now().UTC().Format("20060102-150405"))
		if err != nil {
			return "", nil, usererr.New("no folder for the results in %q: %w", parent, inputfile.Cause(err)).Try("--out DIR, where files can be written")
		}
		return dir, func() {
			os.Remove(dir) // only if it is empty
			os.Remove(parent)
		}, nil
	}
	cannot := func(err error) (string, func(), error) {
		return "", nil, usererr.New("--out %q: %w", f.Out, inputfile.Cause(err))
	}
	_, missing := os.Stat(f.Out)
	if err := os.MkdirAll(f.Out, 0o777); err != nil {
		return cannot(err)
	}
	mark := filepath.Join(f.Out, running)
	file, err := os.OpenFile(mark, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, os.ErrExist) {
		return "", nil, usererr.New("--out %q: another command writes there, or was killed", f.Out).Try("another --out, or remove %s and what else is there", mark)
	}
	if err != nil {
		return cannot(err)
	}
	file.Close()
	entries, err := os.ReadDir(f.Out) // now that nobody else begins to write there
	if err != nil || len(entries) > 1 {
		os.Remove(mark)
		if err != nil {
			return cannot(err)
		}
		return "", nil, usererr.New("--out %q exists and is not empty", f.Out).Try("another --out")
	}
	return f.Out, func() {
		os.Remove(mark)
		if missing != nil {
			os.Remove(f.Out) // only if it is empty
		}
	}, nil
}

// commandLine is how to run the command again: the arguments without those that
// name a place of this machine or change nothing but speed.
func (s *session) commandLine() string {
	var kept []string
	for i := 0; i < len(s.args); i++ {
		name, _, joined := strings.Cut(s.args[i], "=")
		switch name {
		case "--out", "--data", "--threads", "--kernel":
			if !joined {
				i++
			}
		case "--json", "--quiet":
		default:
			kept = append(kept, shellQuoted(s.args[i]))
		}
	}
	return "glassnet " + strings.Join(kept, " ")
}

func interrupted(err error) bool { return errors.Is(err, context.Canceled) }

// shellQuoted puts single quotes round a word that a shell would not take as it is.
func shellQuoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./,:@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
