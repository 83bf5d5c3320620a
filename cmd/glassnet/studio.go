package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/studio"
)

// studioCmd serves the local web page.
type studioCmd struct {
	Port   *int   `placeholder:"N" help:"Port of the page (7700, or when that is taken any that is free)."`
	NoOpen bool   `help:"Do not open a browser."`
	Listen string `placeholder:"ADDRESS" help:"Listen on another address than 127.0.0.1: other machines can then reach the page, with the token in the address that is printed."`
	Out    string `placeholder:"DIR" default:"glassnet-out" help:"Folder in which each study that is run from the page gets one of its own (glassnet-out)."`
	dataFlags
	speedFlags
	Verbose bool `help:"Log what goes wrong with requests, to stderr."`
}

// firstPort is where the page is found when nobody says otherwise.
const firstPort = 7700

// spare is how many goroutines may run beside those that train: the answers to the
// page's requests then wait for no step.
const spare = 2

// Run implements the command.
func (c *studioCmd) Run(s *session) error {
	threads, err := c.use()
	if err != nil {
		return err
	}
	if c.Threads == nil {
		threads = max(1, threads-1) // the page and its answers have a core of their own
	}
	if c.Port != nil && (*c.Port < 0 || *c.Port > 65535) {
		return usererr.New("--port %d, want 0 to 65535", *c.Port)
	}
	o := studio.Options{Listen: c.Listen, Port: firstPort, AnyPort: c.Port == nil, Threads: threads, Out: c.Out}
	if c.Port != nil {
		o.Port = *c.Port
	}
	if err := o.Open(); err != nil {
		return err
	}
	data, err := c.load(s, c.Dataset, false)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	level := slog.LevelError
	if c.Verbose {
		level = slog.LevelDebug
	}
	o.Data, o.Dataset = data, shellQuoted(cmp.Or(c.Dataset, data.Name))
	o.Log = slog.New(slog.NewTextHandler(s.stderr, &slog.HandlerOptions{Level: level}))
	o.Find = func(ctx context.Context, name string) (*dataset.Data, error) {
		return dataset.Load(ctx, name, dataset.Options{Dir: c.Data, Offline: true})
	}
	// From there on what is let go is collected at once, not when as much again is in use.
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(2 << 30)
	}
	return studio.Serve(s.ctx, o, func(url string) {
		fmt.Fprintf(s.stdout, "glassnet studio: %s\n", url)
		fmt.Fprintln(s.stderr, "Ctrl-C ends it.")
		if !c.NoOpen {
			openBrowser(url)
		}
	})
}

// openBrowser has the desktop show a page, where there is one; the address was printed.
func openBrowser(url string) {
	var command *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		command = exec.Command("open", url)
	case "windows":
		command = exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
	default:
		if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
			return
		}
		command = exec.Command("xdg-open", url)
	}
	if command.Start() == nil {
		go func() { _ = command.Wait() }() // whether a browser came up is for the person to see
	}
}
