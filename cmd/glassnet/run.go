package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"glassnet/experiment"
	"glassnet/internal/kernel"
	"glassnet/internal/usererr"
	"glassnet/train"
)

// Exit codes: a contract that scripts rely on.
const (
	exitDone     = 0
	exitFailed   = 1 // internal or I/O failure, or a promised check failed
	exitUsage    = 2 // wrong usage, config or input
	exitDiverged = 3
)

// commands is the command line: one field per subcommand.
type commands struct {
	Study    studyCmd    `cmd:"" help:"Run studies, print their tables, write their report. Without a name: published and corrected."`
	Studies  studiesCmd  `cmd:"" help:"List the built-in studies, or print one: the form of a study file."`
	Train    trainCmd    `cmd:"" help:"Train one network and save it."`
	Evaluate evaluateCmd `cmd:"" help:"Cost, accuracy and confusion matrix of a model on a data set."`
	Predict  predictCmd  `cmd:"" help:"Class and probabilities for PNG images or IDX files."`
	Explain  explainCmd  `cmd:"" help:"One example's forward and backward pass with its numbers; --check compares gradients."`
	Studio   studioCmd   `cmd:"" help:"The local web page: train under your hands, open every number of a step, draw, run studies."`
	Data     dataCmd     `cmd:"" help:"Which data sets are here, where they came from, their checksums."`
	Bench    benchCmd    `cmd:"" help:"Speed of the hot paths beside this machine's measured limits."`
	Report   reportCmd   `cmd:"" help:"Write the report of finished studies again."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// session is what every subcommand runs in.
type session struct {
	ctx            context.Context
	stdout, stderr io.Writer
	args           []string // as typed, for the report
}

// errCheckFailed says that a promise was broken; its text has been printed.
var errCheckFailed = errors.New("a promised check failed")

// run executes one command line and returns its exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	for _, a := range args {
		if !utf8.ValidString(a) { // the parser would put another character in the place of what is not
			return fail(stderr, usererr.New("the argument %q is not UTF-8", a), "another name for the file or folder; glassnet --help")
		}
	}
	var c commands
	exited := -1
	out := &watchedWriter{w: stdout}
	written := func(code int) int {
		if out.err != nil {
			return fail(stderr, fmt.Errorf("the result could not be written: %w", out.err), "")
		}
		return code
	}
	parser, err := kong.New(&c,
		kong.Name("glassnet"),
		kong.Description("Neural networks written from scratch, in a glass case."),
		kong.Writers(out, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{"version": versionLine()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		panic(err) // the struct above is wrong: every test would fail
	}
	args = joinNegative(asked(args))
	parsed, err := parser.Parse(args)
	if exited >= 0 || out.err != nil {
		return written(exited) // help or the version was asked for and printed
	}
	if err != nil {
		if flag, ok := strings.CutPrefix(err.Error(), "unknown flag "); ok && commandOf(err) == nil && someCommandHas(parser, flag) {
			return fail(stderr, usererr.New("%s stands before the command", flag), "glassnet COMMAND "+flag+"; glassnet --help lists the commands")
		}
		return fail(stderr, usererr.New("%s", plainWords(err)), usageOf(err))
	}
	ctx, caught, stop := interruptible()
	defer stop()
	err = parsed.Run(&session{ctx: ctx, stdout: out, stderr: stderr, args: args})
	if err == nil && out.err != nil {
		err = fmt.Errorf("the result could not be written: %w", out.err)
	}
	if code := caught(); code != 0 {
		if err != nil && !errors.Is(err, context.Canceled) {
			fail(stderr, err, "")
		}
		return code
	}
	return fail(stderr, err, parsed.Selected().FullPath()+" --help")
}

// asked makes of "help" and "help train", as other programs have it, --help and train --help.
func asked(args []string) []string {
	if args[0] == "-help" {
		return []string{"--help"}
	}
	if args[0] != "help" {
		return args
	}
	return append(args[1:len(args):len(args)], "--help")
}

// joinNegative joins a flag and the negative number after it, which the parser would
// take for another flag: --lr -1 becomes --lr=-1. The parser's own way would let
// --out --quiet name a folder, too.
func joinNegative(args []string) []string {
	var joined []string
	for i, a := range args {
		if a == "--" { // no flags after it
			return append(joined, args[i:]...)
		}
		last := len(joined) - 1
		_, err := strconv.ParseFloat(a, 64)
		if (err == nil || errors.Is(err, strconv.ErrRange)) && a[0] == '-' && last >= 0 && strings.HasPrefix(joined[last], "--") && !strings.Contains(joined[last], "=") {
			joined[last] += "=" + a
			continue
		}
		joined = append(joined, a)
	}
	return joined
}

// watchedWriter remembers the first error of a writer whose users do not look at it.
type watchedWriter struct {
	w   io.Writer
	err error
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// terminal returns the file that w writes to when that is a terminal, nil otherwise.
func terminal(w io.Writer) *os.File {
	if watched, ok := w.(*watchedWriter); ok {
		w = watched.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// nothingAfter is said of a flag without its value.
const nothingAfter = ": nothing after it, want its value"

// plainWords puts the parser's words for what it wanted, but not what it got, into a
// person's.
func plainWords(err error) string {
	if missing, ok := strings.CutPrefix(err.Error(), "expected \"<"); ok {
		return "missing <" + strings.TrimSuffix(missing, "\"")
	}
	if flag, ok := strings.CutSuffix(err.Error(), ": missing value, expecting \"<arg>\""); ok {
		return flag + nothingAfter
	}
	where, what, found := strings.Cut(err.Error(), ": expected ")
	wanted, got, ok := strings.Cut(what, " but got ")
	if found && strings.HasSuffix(got, "(<EOL>)") {
		return where + nothingAfter
	}
	if word, ok := strings.CutPrefix(err.Error(), "unexpected argument "); ok && commandOf(err) == nil {
		return "no command " + word
	}
	if !found || !ok {
		return err.Error()
	}
	words, known := map[string]string{
		"a valid 64 bit int":  "a whole number of at most 18 digits",
		"a valid 64 bit uint": "a whole number from 0 to 9223372036854775807", // which a seed may be
		"a float":             "a number (at most 1.8e308 in size)",
	}[wanted]
	if !known {
		words = wanted
	}
	return where + ": expected " + words + " but got " + strings.TrimSuffix(got, " (string)")
}

// usageOf returns what to type after a parse error: the subcommand with what it wants
// where that is missing, else its help.
func usageOf(err error) string {
	command := commandOf(err)
	if command == nil {
		return "glassnet --help"
	}
	if strings.HasPrefix(err.Error(), "expected ") {
		return "glassnet " + command.Summary()
	}
	return command.FullPath() + " --help"
}

// someCommandHas says whether flag, "--quick", is one of a subcommand's.
func someCommandHas(parser *kong.Kong, flag string) bool {
	return slices.ContainsFunc(parser.Model.Leaves(true), func(n *kong.Node) bool {
		return slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return "--"+f.Name == flag })
	})
}

// commandOf returns the subcommand of a parse error, or nil.
func commandOf(err error) *kong.Node {
	var p *kong.ParseError
	if !errors.As(err, &p) || p.Context == nil {
		return nil
	}
	return p.Context.Selected()
}

// fail prints err, if any, as one line "error: ..." and at most one "try: ...",
// and returns the exit code that it stands for. What to try is help where a user error
// does not say. Only a fault of this program is followed by where it happened.
func fail(stderr io.Writer, err error, help string) int {
	var diverged *train.DivergedError
	var fault *experiment.FaultError
	var hinted *hintedError
	executable, _ := os.Executable() // "" where that is unknown
	program := calledBy(executable)
	switch user, isUser := usererr.Find(err); {
	case err == nil:
		return exitDone
	case errors.Is(err, errCheckFailed):
		return exitFailed
	case errors.As(err, &diverged):
		fmt.Fprintf(stderr, "error: %s\ntry: a smaller --lr\n", oneLine(err))
		return exitDiverged
	case isUser:
		fmt.Fprintf(stderr, "error: %s\n", oneLine(err))
		if hint := cmp.Or(user.Hint, help); hint != "" {
			fmt.Fprintf(stderr, "try: %s\n", typed(hint, program))
		}
		return exitUsage
	case errors.As(err, &hinted):
		fmt.Fprintf(stderr, "error: %s\ntry: %s\n", oneLine(err), typed(hinted.hint, program))
		return exitFailed
	case errors.As(err, &fault):
		fmt.Fprintf(stderr, "error: %s\n%s", oneLine(err), fault.Stack)
		return exitFailed
	default:
		fmt.Fprintf(stderr, "error: %s\n", oneLine(err))
		return exitFailed
	}
}

// calledBy returns what stands for glassnet on the command line, given its executable:
// its name, or "go run ./cmd/glassnet" among those that go run makes.
func calledBy(executable string) string {
	made := func(part string) bool { return strings.HasPrefix(part, "go-build") }
	if !slices.ContainsFunc(strings.Split(filepath.ToSlash(executable), "/"), made) || strings.HasSuffix(executable, ".test") {
		return "glassnet"
	}
	return "go run ./cmd/glassnet"
}

// typed returns the hint with the commands in it as one types them.
func typed(hint, program string) string {
	if rest, ok := strings.CutPrefix(hint, "glassnet "); ok {
		hint = program + " " + rest
	}
	return strings.ReplaceAll(hint, "; glassnet ", "; "+program+" ")
}

// hintedError is an error that is not the user's, but which the user may get around.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

// oneLine puts an error on one line; control characters, which may come from the
// names of files and would reach the terminal, are shown escaped.
func oneLine(err error) string { return printable(strings.Join(strings.Fields(err.Error()), " ")) }

// printable escapes what a terminal would act upon.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// sameWish is how long after a signal another stands for the same wish: timeout(1) sends
// each twice, and what runs a program under a terminal may pass on what it has had already.
const sameWish = 500 * time.Millisecond

// interruptible returns a context that the first SIGINT or SIGTERM ends, so that
// finished work is saved and summarised; one that comes later ends the program at once.
// caught returns the exit code of the signal, 0 when there was none.
func interruptible() (ctx context.Context, caught func() int, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var code atomic.Int32
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case s := <-signals:
				if first.IsZero() {
					first = time.Now()
					code.Store(map[bool]int32{true: 143, false: 130}[s == syscall.SIGTERM])
					cancel()
				} else if time.Since(first) > sameWish {
					os.Exit(int(code.Load()))
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() int { return int(code.Load()) }, func() {
		if code.Load() == 0 { // else the program ends now, and the same wish sent twice would end it by the signal
			signal.Stop(signals)
		}
		close(done)
		cancel()
	}
}

// kernelFlag chooses the implementation of the hot loops.
type kernelFlag struct {
	Kernel string `placeholder:"NAME" help:"Implementation of the hot loops: portable, avx2, avx512, neon. Default: the fastest here, or $GLASSNET_KERNEL."`
}

func (f kernelFlag) apply() error { return kernel.Use(f.Kernel) }
