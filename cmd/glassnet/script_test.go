package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"glassnet": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script: each is a session at the command line. They
// see no network and no data but what they make.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("HOME", env.WorkDir)
			// Whatever proxy there is, none answers here: downloads fail at once.
			env.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":       exits,
			"figures":     figures,
			"fitscolumns": fitsColumns,
			"mkdata":      mkdata,
			"mkpng":       mkpng,
			"overwrite":   overwrite,
			"samefiles":   samefiles,
			"nothing-but": nothingBut,
			"interrupt":   interrupt,
		},
	})
}

// exits CODE ARGS... runs glassnet and demands the exit code; with code 2 also one
// line of error.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec("glassnet", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("glassnet %q: %v", args[1:], err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		ts.Fatalf("glassnet %q: exit code %d, want %d", args[1:], code, want)
	}
	if code == exitUsage {
		oneLineOf(ts)
	}
}

// interrupt SIGNAL CODE ARGS... runs glassnet until it says that a training or a page is
// under way, sends the signal twice, as timeout(1) does, and demands the exit code within
// seconds.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[0]]
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	program, err := os.Executable()
	ts.Check(err)
	cmd := exec.Command(program, args[2:]...)
	cmd.Args[0] = "glassnet" // how testscript.Main tells the command from the tests
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+ts.Getenv("XDG_CACHE_HOME"))
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	began := time.Now()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "epoch") || strings.Contains(lines.Text(), "Ctrl-C") || time.Since(began) > time.Minute {
			break
		}
	}
	sent := time.Now()
	ts.Check(cmd.Process.Signal(signal))
	time.Sleep(5 * time.Millisecond)
	ts.Check(cmd.Process.Signal(signal))
	_, _ = io.Copy(io.Discard, stderr)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("exit code %d after SIG%s, want %d", got, args[0], want)
	}
	if took := time.Since(sent); took > 10*time.Second {
		ts.Fatalf("ended %v after SIG%s, want seconds", took, args[0])
	}
}

// fitscolumns N demands that no line of the last output is longer than N characters.
func fitsColumns(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > most {
			ts.Fatalf("a line of %d characters, want at most %d:\n%s", n, most, line)
		}
	}
}

// figures FILE PATTERN PATH... puts numbers of a JSON file, each named by its keys and
// indices as in per_class.3.recall, into the pattern, as Sprintf does, and demands that
// the last output matches it.
func figures(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: figures file pattern path...")
	}
	var all any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &all))
	var values []any
	for _, path := range args[2:] {
		v := all
		for key := range strings.SplitSeq(path, ".") {
			if list, ok := v.([]any); ok {
				i, err := strconv.Atoi(key)
				ts.Check(err)
				v = list[i]
			} else {
				v = v.(map[string]any)[key]
			}
		}
		values = append(values, v)
	}
	pattern := fmt.Sprintf(args[1], values...)
	if !regexp.MustCompile("(?m)" + pattern).MatchString(ts.ReadFile("stdout")) {
		ts.Fatalf("no match for %s in\n%s", pattern, ts.ReadFile("stdout"))
	}
}

// oneLineOf demands that the last command left one line "error: ..." on stderr and
// at most one "try: ..." after it.
func oneLineOf(ts *testscript.TestScript) {
	lines := bytes.Split(bytes.TrimSpace([]byte(ts.ReadFile("stderr"))), []byte("\n"))
	ok := len(lines) >= 1 && len(lines) <= 2 && bytes.HasPrefix(lines[0], []byte("error: ")) &&
		(len(lines) == 1 || bytes.HasPrefix(lines[1], []byte("try: ")))
	if !ok {
		ts.Fatalf("stderr is not an error line and at most a try line:\n%s", bytes.Join(lines, []byte("\n")))
	}
}

// nothing-but DIR NAMES... demands that a folder holds these entries and no others.
func nothingBut(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := names(entries); !slices.Equal(got, slices.Sorted(slices.Values(args[1:]))) {
		ts.Fatalf("%s holds %q, want %q", args[0], got, args[1:])
	}
}

// mkdata DIR TRAIN TEST writes a folder of IDX files with drawn digits.
func mkdata(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	first := 0
	for i, part := range []string{"train", "t10k"} {
		n, err := strconv.Atoi(args[1+i])
		ts.Check(err)
		pixels, labels, err := drawn.Draw(context.Background(), 7, first, n, nil)
		ts.Check(err)
		first += n
		write(ts, filepath.Join(dir, part+"-images-idx3-ubyte"), func(w io.Writer) error {
			return dataset.WriteImages(w, drawn.Width, drawn.Height, pixels)
		})
		write(ts, filepath.Join(dir, part+"-labels-idx1-ubyte"), func(w io.Writer) error {
			return dataset.WriteLabels(w, labels)
		})
	}
}

// mkpng FILE WIDTH HEIGHT draws a dark bar on white paper.
func mkpng(ts *testscript.TestScript, _ bool, args []string) {
	w, err := strconv.Atoi(args[1])
	ts.Check(err)
	h, err := strconv.Atoi(args[2])
	ts.Check(err)
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{250, 248, 240, 255}
			if x > w*45/100 && x < w*55/100 && y > h/5 && y < h*4/5 {
				c = color.RGBA{20, 30, 90, 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	write(ts, ts.MkAbs(args[0]), func(f io.Writer) error { return png.Encode(f, img) })
}

func write(ts *testscript.TestScript, path string, content func(io.Writer) error) {
	var b bytes.Buffer
	ts.Check(content(&b))
	ts.Check(os.WriteFile(path, b.Bytes(), 0o666))
}

// overwrite FILE OFFSET BYTE... changes bytes of a file; a negative offset counts
// from its end; the word cut ends the file there, the word append adds a byte.
func overwrite(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	content, err := os.ReadFile(path)
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if at < 0 {
		at += len(content)
	}
	switch args[2] {
	case "cut":
		content = content[:at]
	case "append":
		content = append(content, 0)
	default:
		for i, text := range args[2:] {
			b, err := strconv.ParseUint(text, 0, 8)
			ts.Check(err)
			content[at+i] = byte(b)
		}
	}
	ts.Check(os.WriteFile(path, content, 0o666))
}

// samefiles A B demands equal bytes.
func samefiles(ts *testscript.TestScript, neg bool, args []string) {
	a, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s and %s: equal = %v, want %v", args[0], args[1], !neg, neg)
	}
}
