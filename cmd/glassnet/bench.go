package main

import (
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"glassnet/experiment"
	"glassnet/internal/bench"
	"glassnet/internal/usererr"
)

// benchCmd measures the hot paths.
type benchCmd struct {
	dataFlags
	speedFlags
	Quick bool `help:"A few seconds, and rough figures."`
	JSON  bool `help:"Print JSON."`
}

// What the measured networks take.
const (
	benchFeatures = 784
	benchClasses  = 10
	benchImages   = 2048
)

// Run implements the command.
func (c *benchCmd) Run(s *session) error {
	threads, err := c.use()
	if err != nil {
		return err
	}
	start := time.Now()
	data, err := c.load(s, c.Dataset, c.JSON)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	set := data.Train
	if set.Features() != benchFeatures || set.Classes > benchClasses || set.Len() < benchImages {
		return usererr.New("%s has %d images of %d pixels in %d classes; the measured networks take %d or more of %d in %d at most",
			data.Name, set.Len(), set.Features(), set.Classes, benchImages, benchFeatures, benchClasses).Try("--dataset drawn-digits")
	}
	m := experiment.ThisMachine()
	mb := float64(len(data.Train.Pixels)+len(data.Test.Pixels)) / 1e6
	r := bench.Report{
		Machine: bench.Machine{CPU: m.CPU, Cores: m.Cores, OS: m.OS, Kernel: m.Kernel, Go: m.Go},
		Dataset: data.Name,
		Loading: []bench.Loading{{What: data.Name + ", " + data.Origin, MB: mb, Seconds: seconds, Rate: mb / seconds}},
	}
	if !c.JSON && !c.Quick {
		fmt.Fprintln(s.stderr, "measuring, half a minute or more; --quick takes seconds")
	}
	if err := bench.Run(s.ctx, &r, bench.Options{Threads: threads, Quick: c.Quick, Set: set}); err != nil {
		if interrupted(err) {
			fmt.Fprintln(s.stderr, "interrupted: figures are printed when all are taken")
		}
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, r)
	}
	printBench(s.stdout, &r)
	return nil
}

func printBench(w io.Writer, r *bench.Report) {
	fmt.Fprintf(w, "%s, %d cores, %s, kernel %s, %s\n", r.Machine.CPU, r.Machine.Cores, r.Machine.OS, r.Machine.Kernel, r.Machine.Go)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	section := func(title, columns string) {
		table.Flush()
		fmt.Fprintf(w, "\n%s\n", title)
		fmt.Fprintln(table, columns)
	}
	section("What this machine can do at best", "type\tthreads\tGFLOP/s\tmemory GB/s\t")
	for _, precision := range []string{"float32", "float64"} {
		peaks := r.Machine.PeakGFLOPS[precision]
		for _, threads := range sortedKeys(peaks) {
			fmt.Fprintf(table, "%s\t%s\t%.0f\t%.1f\t\n", precision, threads, peaks[threads], r.Machine.Bandwidth[threads])
		}
	}
	section("Products of dense numbers: x [m, k], w [k, n], g [m, n]", "kind\tm\tk\tn\ttype\tthreads\tGFLOP/s\tof peak\t")
	for _, p := range r.Products {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%d\t%.0f\t%.0f %%\t\n", p.Kind, p.M, p.K, p.N, p.Type, p.Threads, p.GFLOPS, 100*p.Share)
	}
	section("Training steps (operations counted as if no pixel were 0; zeros are skipped)", "net\tbatch\ttype\tthreads\tµs/step\tGFLOP/s\tof peak\t")
	for _, p := range r.Steps {
		net := p.Net
		if p.BatchNorm {
			net += " batch norm, L2"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%.1f\t%.0f\t%.0f %%\t\n", net, p.Batch, p.Precision, p.Threads, p.Micros, p.GFLOPS, 100*p.Share)
	}
	section("Predictions, float32, one thread", "net\tbatch\tµs\timages/s\t")
	for _, p := range r.Predict {
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%.0f\t\n", p.Net, p.Batch, p.Micros, p.Rate)
	}
	section("Loading", "what\tMB\tseconds\tMB/s\t")
	for _, p := range r.Loading {
		fmt.Fprintf(table, "%s\t%.1f\t%.2f\t%.0f\t\n", p.What, p.MB, p.Seconds, p.Rate)
	}
	table.Flush()
}

// sortedKeys returns the numbers of threads, the smallest first.
func sortedKeys(m map[string]float64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		return len(keys[i]) < len(keys[j]) || len(keys[i]) == len(keys[j]) && keys[i] < keys[j]
	})
	return keys
}
