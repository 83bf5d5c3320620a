// Compare measures glassnet beside what its users would pick instead, in one run in
// which all peers take turns, and makes docs/performance.md from what it measured.
// Everything is in processes that sleep until it is their turn.
//
// In this folder:
//
//	go run . -o run.json      measures everything: about 20 minutes
//	go run . -page run.json   makes the page and its plots
//
// The peers in Go come through the module proxy. Those in Python are measured where
// they are installed (on Debian: python3-torch, python3-numpy, python3-sklearn and
// libopenblas0-pthread) and left out otherwise.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"

	"glassnet/dataset"
)

const root = "../.."

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	output := flag.String("o", "", "measure, and write the figures to this `FILE.json`")
	page := flag.String("page", "", "make docs/performance.md from this `FILE.json`")
	data := flag.String("data", "", "`DIR`ectory of data sets, with MNIST's .gz files in its folder mnist/")
	python := flag.String("python", "/usr/bin/python3", "`PROGRAM` that runs the peers in Python")
	quick := flag.Bool("quick", false, "measure little, to see that all works")
	only := flag.String("only", "steps,predictions,products,scaling,runs,commands,studies,profiles", "`PARTS` to measure")
	name := flag.String("worker", "", "be the worker of this `PEER` (the program starts these itself)")
	threads := flag.Int("threads", 1, "of the worker")
	work := flag.String("work", "", "folder the workers share")
	flag.Parse()
	switch {
	case *name != "" && peers[*name] != nil:
		return serve(func() peer { return peers[*name](*threads) }, *data, *work, os.Stdin, os.Stdout)
	case *page != "":
		return makePage(*page, filepath.Join(root, "docs"))
	case *output != "":
		path, err := filepath.Abs(*output) // measure leaves this folder
		if err != nil {
			return err
		}
		r, err := measure(*data, *python, *quick, strings.Split(*only, ","))
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(text, '\n'), 0o666)
	}
	flag.Usage()
	return fmt.Errorf("want -o or -page")
}

// mnistIn returns the folder with MNIST's .gz files, which the peers in Python read.
func mnistIn(data string) (dataDir, mnist string, err error) {
	for _, dir := range []string{data, os.Getenv("GLASSNET_DATA"), root + "/data", root + "/../shared/data"} {
		if dir == "" {
			continue
		}
		if dir, err = filepath.Abs(dir); err != nil {
			return "", "", err
		}
		mnist := filepath.Join(dir, "mnist")
		if _, err := os.Stat(filepath.Join(mnist, "train-images-idx3-ubyte.gz")); err == nil {
			return dir, mnist, nil
		}
	}
	mnist, err = dataset.Fetch(context.Background(), dataset.Options{})
	return filepath.Dir(mnist), mnist, err
}

func measure(data, python string, quick bool, only []string) (*Run, error) {
	data, mnist, err := mnistIn(data)
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(root); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "compare")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	script, err := filepath.Abs("bench/compare/peers.py")
	if err != nil {
		return nil, err
	}
	loaded, err := dataset.Load(context.Background(), "mnist", dataset.Options{Dir: data, Offline: true})
	if err != nil {
		return nil, err
	}
	nonZero := 0
	for _, pixel := range loaded.Train.Pixels {
		if pixel != 0 {
			nonZero++
		}
	}
	m := meter{
		place: place{python: python, script: script, data: data, mnist: mnist, work: work},
		quick: quick, run: &Run{Date: time.Now().UTC().Format(time.DateOnly), NonZero: float64(nonZero) / float64(len(loaded.Train.Pixels))}, workers: map[string]*worker{},
	}
	if err := m.prepare(shuffled(loaded.Train.Len())); err != nil {
		return nil, err
	}
	for _, part := range only {
		var err error
		switch part {
		case "steps":
			m.steps()
		case "predictions":
			m.predictions()
		case "products":
			m.products()
		case "scaling":
			m.scaling()
		case "runs":
			m.sideBySide()
		case "commands":
			err = m.commands()
		case "studies":
			err = m.studies()
		case "profiles":
			err = m.profiles()
		default:
			err = fmt.Errorf("-only %s: no such part", part)
		}
		if err != nil {
			return nil, err
		}
	}
	m.dismiss(append(trainers, predictors...)...)
	return m.run, nil
}

// profiles samples where steps of A and B spend their time, on one thread and on two.
func (m *meter) profiles() error {
	for _, net := range nets[:2] {
		for threads := 1; threads <= 2; threads++ {
			spent, err := m.profile(net, threads)
			if err != nil {
				return err
			}
			m.run.Profiles = append(m.run.Profiles, Profile{net.Name, threads, spent})
		}
	}
	return nil
}

func (m *meter) profile(net Race, threads int) ([]Spent, error) {
	widths, err := parseNet(net.Net)
	if err != nil {
		return nil, err
	}
	if err := writeFloats(filepath.Join(m.place.work, net.Net+".weights"), initial(widths)); err != nil {
		return nil, err
	}
	t, err := loadTask(m.place.data, m.place.work, net.Net, net.Batch)
	if err != nil {
		return nil, err
	}
	p := &ours{threads: threads}
	if _, err := p.prepare(t); err != nil {
		return nil, err
	}
	var sampled bytes.Buffer
	if err := pprof.StartCPUProfile(&sampled); err != nil {
		return nil, err
	}
	const together = 1000
	steps := 0
	for start := time.Now(); time.Since(start) < time.Duration(m.rounds(10))*time.Second; steps += together {
		if _, err := p.step(together); err != nil {
			return nil, err
		}
	}
	pprof.StopCPUProfile()
	parsed, err := profile.Parse(&sampled)
	if err != nil {
		return nil, err
	}
	by := map[string]float64{}
	for _, s := range parsed.Sample {
		// The innermost function, not counting inlined calls of it.
		lines := s.Location[0].Line
		const nanoseconds = 1 // of a sample's values
		by[strings.TrimPrefix(lines[len(lines)-1].Function.Name, "glassnet/")] += float64(s.Value[nanoseconds]) / 1e3 / float64(steps)
	}
	var spent []Spent
	for _, name := range slices.Sorted(maps.Keys(by)) {
		spent = append(spent, Spent{name, by[name]})
	}
	slices.SortStableFunc(spent, func(a, b Spent) int { return cmp.Compare(b.Micros, a.Micros) })
	return spent, nil
}
