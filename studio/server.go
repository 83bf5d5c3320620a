package studio

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"glassnet/dataset"
	"glassnet/internal/usererr"
)

// Options are those of a studio.
type Options struct {
	Data *dataset.Data // that the first training is about
	// Dataset is what names Data on a command line, as a shell takes it; "" is its name.
	Dataset string
	// Find loads mnist or drawn-digits when the page chooses it; nil: there is Data only.
	Find    func(ctx context.Context, name string) (*dataset.Data, error)
	Out     string       // folder in which each study that is run gets one
	Threads int          // cores for training and for studies; 0 means 1
	Log     *slog.Logger // nil: nothing is logged
	// Listen is the address to listen on; "" is 127.0.0.1. Any other than the
	// loopback's is reachable from other machines, and asks for a token.
	Listen string
	Port   int // 0: any that is free
	// AnyPort takes a free port when Port is taken.
	AnyPort bool

	listener net.Listener // once it is open
}

// Limits on what a client may do.
const (
	maxConnections = 256
	maxHeader      = 16 << 10
	headerWithin   = 5 * time.Second
	readWithin     = 10 * time.Second
	answerWithin   = 30 * time.Second
	idleWithin     = 60 * time.Second
	shutdownWithin = 2 * time.Second
)

// Open takes the address and the port, so that they are known to be free before Data is
// loaded; Serve does it where it has not been done. The error is a user error.
func (o *Options) Open() error {
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(o.Listen); err != nil {
		return usererr.New("--listen %.80q, want an address such as 127.0.0.1 or 0.0.0.0", o.Listen)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Listen, strconv.Itoa(o.Port)))
	if err != nil && o.AnyPort {
		listener, err = net.Listen("tcp", net.JoinHostPort(o.Listen, "0"))
	}
	if err != nil {
		var call *os.SyscallError
		if errors.As(err, &call) { // what is around it names the address again
			err = call.Err
		}
		e := usererr.New("port %d of %s: %w", o.Port, o.Listen, err)
		if errors.Is(err, syscall.EADDRINUSE) {
			return e.Try("--port 0, which takes any that is free")
		}
		return e.Try("another address with --listen, or another --port")
	}
	o.listener = listener
	return nil
}

// Serve runs a studio until ctx is done. It calls ready with the address of the page
// once it answers. The error is a user error when the address cannot be listened on.
func Serve(ctx context.Context, o Options, ready func(url string)) error {
	if o.listener == nil {
		if err := o.Open(); err != nil {
			return err
		}
	}
	token := ""
	if !netip.MustParseAddr(o.Listen).IsLoopback() {
		token = rand.Text()
	}
	port := o.listener.Addr().(*net.TCPAddr).Port
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	owning, stop := context.WithCancel(context.Background())
	s := newServer(owning, o, log)
	go s.owner.own(owning)
	server := &http.Server{
		Handler:           newGuard(o.Listen, port, token, s.mux(), log),
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin, WriteTimeout: answerWithin, IdleTimeout: idleWithin,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(o.listener, maxConnections)) }()
	url := fmt.Sprintf("http://%s/", net.JoinHostPort(o.Listen, strconv.Itoa(port)))
	if token != "" {
		url += "?token=" + token
	}
	ready(url)
	var err error
	select {
	case err = <-ended:
		close(s.closing)
	case <-ctx.Done():
		close(s.closing)
		within, cancel := context.WithTimeout(context.Background(), shutdownWithin)
		defer cancel()
		if err = server.Shutdown(within); errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
	}
	stop()
	<-s.owner.ended
	s.lab.ended.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// server answers the page's requests.
type server struct {
	owner       *owner
	sets        *sets
	lab         *laboratory
	steps       stepCache
	evaluations evaluations
	working     chan struct{} // a place for each request that computes much
	waits       time.Duration // how long one waits for it
	log         *slog.Logger
	closing     chan struct{} // closed when the server ends

	mu         sync.Mutex
	neighbours map[string]*neighbours // by data set
}

// newServer returns a server whose studies end with ctx.
func newServer(ctx context.Context, o Options, log *slog.Logger) *server {
	sets, threads := newSets(o.Data, o.Find), max(o.Threads, 1)
	owner := newOwner(o.Data, sets.names, threads, log)
	return &server{
		owner: owner, sets: sets,
		lab: &laboratory{
			out: o.Out, dataset: cmp.Or(o.Dataset, o.Data.Name), threads: threads, hub: owner.hub, log: log, stopAll: ctx,
			state: studyState{Phase: studyNone, Runs: []runProgress{}},
		},
		working: make(chan struct{}, maxWorking), waits: queueWithin, log: log, closing: make(chan struct{}),
		neighbours: map[string]*neighbours{},
	}
}
