package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/cpu"
)

// place is where peers find things.
type place struct {
	python string
	script string // peers.py
	data   string // folder of data sets
	mnist  string // folder with MNIST's four .gz files
	work   string // the order of the images, weights, what peers leave
}

// worker is a peer in a process of its own that sleeps until it is asked.
type worker struct {
	peer    string
	threads int
	what    string // said by prepare
	process *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

func (w *worker) String() string { return fmt.Sprintf("%s on %d", w.peer, w.threads) }

// environment holds the threads a peer may use. Without its core type, Debian's
// OpenBLAS takes newer CPUs for old ones.
func environment(threads int) []string {
	e := append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(threads),
		"OPENBLAS_NUM_THREADS="+strconv.Itoa(threads), "OMP_NUM_THREADS=1")
	if cpu.X86.HasAVX512F {
		e = append(e, "OPENBLAS_CORETYPE=SkylakeX")
	}
	return e
}

func start(p place, peer string, threads int) (*worker, error) {
	w := &worker{peer: peer, threads: threads}
	if peers[peer] != nil {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		w.process = exec.Command(self, "-worker", peer, "-threads", strconv.Itoa(threads), "-data", p.data, "-work", p.work)
	} else {
		w.process = exec.Command(p.python, p.script, "--peer", peer, "--threads", strconv.Itoa(threads), "--mnist", p.mnist, "--work", p.work)
	}
	w.process.Env = environment(threads)
	w.process.Stderr = os.Stderr
	var err error
	if w.in, err = w.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.answers = bufio.NewScanner(out)
	return w, w.process.Start()
}

// patience is how long a worker may take for one command.
const patience = 2 * time.Minute

// ask sends a command and waits for its answer.
func (w *worker) ask(format string, arguments ...any) (a answer, err error) {
	command := fmt.Sprintf(format, arguments...)
	late := time.AfterFunc(patience, func() { w.process.Process.Kill() })
	defer late.Stop()
	if _, err = io.WriteString(w.in, command+"\n"); err == nil {
		if !w.answers.Scan() {
			err = errors.Join(fmt.Errorf("no answer: it crashed, or took more than %v", patience), w.answers.Err())
		} else if err = json.Unmarshal(w.answers.Bytes(), &a); err == nil && a.Error != "" {
			err = errors.New(a.Error)
		}
	}
	if err != nil {
		err = fmt.Errorf("%v: %s: %w", w, command, err)
	}
	return a, err
}

func (w *worker) quit() {
	w.in.Close()
	w.process.Wait() // an error of a peer that is not needed any more
}

// Timing is what one peer needed on one number of threads.
type Timing struct {
	Peer    string  `json:"peer"`
	Threads int     `json:"threads"`
	What    string  `json:"what,omitempty"`
	Micros  float64 `json:"us"` // median over the rounds
	Low     float64 `json:"us_low"`
	High    float64 `json:"us_high"` // quartiles
	// Difference is the largest absolute one between any parameter (or probability)
	// of this peer and of glassnet after one step from the same weights.
	Difference float64 `json:"difference"`
	Error      string  `json:"error,omitempty"`
}

// enough is how long one worker may be measured in one race, once the least rounds
// are done: some peers need seconds for a step.
const (
	enough      = 12 * time.Second
	leastRounds = 3
)

// race times the command, a format with one %d for how often, on all workers in
// turn, one at a time, rounds times, about slice long each.
func race(workers []*worker, command string, rounds int, slice time.Duration) []Timing {
	timings := make([]Timing, len(workers))
	repeats, micros := make([]int, len(workers)), make([][]float64, len(workers))
	spent := make([]time.Duration, len(workers))
	measure := func(i int) float64 {
		if timings[i].Error != "" {
			return 0
		}
		a, err := workers[i].ask(command, repeats[i])
		if err != nil {
			timings[i].Error = err.Error()
		}
		time.Sleep(40 * time.Millisecond) // OpenBLAS's threads wait in a loop for 2^26 ticks of the CPU's counter (THREAD_TIMEOUT): 32 ms at 2.1 GHz
		return a.Seconds
	}
	for i, w := range workers {
		timings[i] = Timing{Peer: w.peer, Threads: w.threads, What: w.what}
		for repeats[i] = 1; ; { // until a slice is long enough to judge by
			seconds := measure(i)
			if per := seconds / float64(repeats[i]); timings[i].Error != "" || seconds > slice.Seconds()/5 {
				repeats[i] = max(1, int(slice.Seconds()/max(per, 1e-9)))
				break
			}
			repeats[i] *= 4
		}
	}
	for round := range rounds {
		for k := range workers {
			i := (k + round) % len(workers)
			if round >= leastRounds && spent[i] > enough {
				continue
			}
			start := time.Now()
			if seconds := measure(i); timings[i].Error == "" {
				micros[i] = append(micros[i], seconds/float64(repeats[i])*1e6)
			}
			spent[i] += time.Since(start)
		}
	}
	for i, m := range micros {
		if len(m) > 0 {
			slices.Sort(m)
			timings[i].Low, timings[i].Micros, timings[i].High = m[len(m)/4], m[len(m)/2], m[3*len(m)/4]
		}
	}
	return timings
}
