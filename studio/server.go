package studio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/netutil"

	"glassnet/dataset"
	"glassnet/internal/usererr"
)

// Options are those of a studio.
type Options struct {
	Data    *dataset.Data
	Threads int          // cores to train on; 0 means 1
	Log     *slog.Logger // nil: nothing is logged
	// Listen is the address to listen on; "" is 127.0.0.1. Any other than the
	// loopback's is reachable from other machines, and asks for a token.
	Listen string
	Port   int // 0: any that is free
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

// Serve runs a studio until ctx is done. It calls ready with the address of the page
// once it listens. The error is a user error when the address cannot be listened on.
func Serve(ctx context.Context, o Options, ready func(url string)) error {
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(o.Listen)
	if err != nil {
		return usererr.New("--listen %.80q, want an address such as 127.0.0.1 or 0.0.0.0", o.Listen)
	}
	token := ""
	if !addr.IsLoopback() {
		token = rand.Text()
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.Listen, strconv.Itoa(o.Port)))
	if err != nil {
		return usererr.New("port %d of %s: %w", o.Port, o.Listen, err).Try("--port 0, which takes any that is free")
	}
	port := listener.Addr().(*net.TCPAddr).Port
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := newServer(o.Data, max(o.Threads, 1), log)
	owning, stop := context.WithCancel(context.Background())
	go s.owner.own(owning)
	server := &http.Server{
		Handler:           newGuard(o.Listen, port, token, s.routes(), log),
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerWithin, ReadTimeout: readWithin, WriteTimeout: answerWithin, IdleTimeout: idleWithin,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(listener, maxConnections)) }()
	url := fmt.Sprintf("http://%s/", net.JoinHostPort(o.Listen, strconv.Itoa(port)))
	if token != "" {
		url += "?token=" + token
	}
	ready(url)
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
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// server answers the page's requests.
type server struct {
	owner   *owner
	steps   stepCache
	working chan struct{} // a place for each request that computes much
	log     *slog.Logger
	closing chan struct{} // closed when the server ends
}

func newServer(data *dataset.Data, threads int, log *slog.Logger) *server {
	return &server{owner: newOwner(data, threads, log), working: make(chan struct{}, maxWorking), log: log, closing: make(chan struct{})}
}
