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

// folder returns the folder's name, or refuses one that holds something. It makes
// nothing: that is for when there is something to put in.
func (f outFlag) folder(what string) (string, error) {
	dir := f.Out
	if dir == "" {
		dir = filepath.Join("glassnet-out", what+"-"+time.Now().UTC().Format("20060102-150405"))
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return "", usererr.New("--out %q exists and is not empty", dir).Try("another --out")
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", usererr.New("--out %q: %w", dir, inputfile.Cause(err))
	}
	return dir, nil
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
