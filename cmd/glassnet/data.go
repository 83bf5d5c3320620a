package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"glassnet/dataset"
)

// dataCmd shows, fetches or verifies data sets.
type dataCmd struct {
	List   dataListCmd   `cmd:"" default:"withargs" help:"Which data sets are here (the default)."`
	Fetch  dataFetchCmd  `cmd:"" help:"Download MNIST into the cache."`
	Verify dataVerifyCmd `cmd:"" help:"Check every file that is here against its checksum."`
}

type dataFolder struct {
	Data string `placeholder:"DIR" help:"Folder of data sets, searched first."`
}

type dataListCmd struct{ dataFolder }

// Run implements the command.
func (c *dataListCmd) Run(s *session) error {
	o := dataset.Options{Dir: c.Data}
	for _, set := range dataset.Status(s.ctx, o) {
		fmt.Fprintf(s.stdout, "%-13s %s (%s): %s\n", set.Name, set.Dir, set.Place, set.State)
		for _, f := range set.Files {
			fmt.Fprintf(s.stdout, "    %s  %d bytes  %s\n      sha256 of the content: %s\n", f.Path, f.Size, f.State, f.SHA256)
		}
	}
	return cmp.Or(o.Check(), s.ctx.Err())
}

type dataFetchCmd struct {
	Quiet bool `help:"No progress."`
}

// Run implements the command.
func (c *dataFetchCmd) Run(s *session) error {
	bars := newMeter(s.stderr, c.Quiet)
	dir, err := dataset.Fetch(s.ctx, dataset.Options{
		Progress: bars.bytes,
		Warn:     func(line string) { fmt.Fprintln(s.stderr, line) },
	})
	bars.close()
	if errors.Is(err, dataset.ErrNoMirror) {
		return &hintedError{err, "again with a network, or put MNIST's four files into data/mnist"}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "mnist: verified in %s\n", dir)
	return nil
}

type dataVerifyCmd struct{ dataFolder }

// Run implements the command.
func (c *dataVerifyCmd) Run(s *session) error {
	sets, err := dataset.Verify(s.ctx, dataset.Options{Dir: c.Data})
	if err != nil {
		return err
	}
	for _, set := range sets {
		if len(set.Files) > 0 {
			fmt.Fprintf(s.stdout, "%s in %s: %s\n", set.Name, set.Dir, set.State)
		}
	}
	fmt.Fprintln(s.stdout, "every data set that is here is verified")
	var missing []string
	for _, set := range sets {
		here := func(other dataset.SetStatus) bool { return other.Name == set.Name && len(other.Files) > 0 }
		if !slices.Contains(missing, set.Name) && !slices.ContainsFunc(sets, here) {
			missing = append(missing, set.Name)
			fmt.Fprintf(s.stdout, "%s is not here\n", set.Name)
		}
	}
	return nil
}
