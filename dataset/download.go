package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"glassnet/internal/atomicfile"
	"glassnet/internal/usererr"
)

// mnistMirrors are public copies of MNIST's four .gz files.
var mnistMirrors = []string{
	"https://ossci-datasets.s3.amazonaws.com/mnist/",
	"https://storage.googleapis.com/cvdf-datasets/mnist/",
	"https://raw.githubusercontent.com/fgnt/mnist/master/",
}

// mnistSizes are the sizes of MNIST's decompressed files in bytes. A compressed
// one is never much longer.
var mnistSizes = [4]int64{47_040_016, 60_008, 7_840_016, 10_008}

const (
	connectTimeout = 10 * time.Second
	tries          = 5 // of one mirror for one file, when the connection breaks off
)

var idleTimeout = 30 * time.Second // without a byte; tests wait less

// Fetch downloads what is missing or damaged of MNIST into the user's cache
// folder, dir, and verifies it: no file takes its place there before its SHA-256
// is right. A download that was broken off goes on where it ended. A mirror that
// fails or sends anything else is given up with a warning and the next one tried.
// When another process is fetching, Fetch waits for it. The error is ErrNoMirror
// (errors.Is) when no mirror gives a file.
func Fetch(ctx context.Context, o Options) (dir string, err error) {
	if o.Offline {
		return "", usererr.New("MNIST is not downloaded: offline")
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, "mnist")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	unlock, err := lockFolder(ctx, dir, o)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := atomicfile.Sweep(dir); err != nil {
		return "", err
	}

	f := newFetcher(dir, o)
	defer f.client.CloseIdleConnections()
	paths, _ := locate(dir)
	for i, path := range paths {
		if path != "" {
			err := verifyMNIST(path, i)
			if err == nil {
				continue
			}
			o.warn(fmt.Sprintf("%v; it is downloaded again", err))
			if err := os.Remove(path); err != nil {
				return "", err
			}
		}
		if err := f.fetch(ctx, i); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// lockFolder waits until no other process fetches into dir.
func lockFolder(ctx context.Context, dir string, o Options) (unlock func(), err error) {
	for told := false; ; told = true {
		unlock, err := atomicfile.TryLock(filepath.Join(dir, ".lock"))
		if !errors.Is(err, atomicfile.ErrLocked) {
			return unlock, err
		}
		if !told {
			o.warn("another process is downloading MNIST; waiting for it")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// verifyMNIST reads file i of MNIST and compares its SHA-256.
func verifyMNIST(path string, i int) error {
	f, err := readFile(path, i, mnistClasses)
	if err != nil {
		return err
	}
	return checkSum(path, f.sum, mnistSums[i])
}

type fetcher struct {
	client  *http.Client
	mirrors []string // those not given up yet
	dir     string
	o       Options
}

func newFetcher(dir string, o Options) *fetcher {
	mirrors := o.Mirrors
	if mirrors == nil {
		mirrors = mnistMirrors
	}
	return &fetcher{
		mirrors: mirrors,
		dir:     dir,
		o:       o,
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
				TLSHandshakeTimeout: connectTimeout,
				ForceAttemptHTTP2:   true,
				DisableCompression:  true, // the files are compressed already, and ranges count stored bytes
			},
			CheckRedirect: func(req *http.Request, via []*http.Request) error {
				if len(via) >= 10 {
					return errors.New("more than 10 redirections")
				}
				if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
					return errors.New("redirected away from https")
				}
				return nil
			},
		},
	}
}

// fetch downloads file i from the first mirror that has it.
func (f *fetcher) fetch(ctx context.Context, i int) error {
	var last error
	for ; len(f.mirrors) > 0; f.mirrors = f.mirrors[1:] {
		mirror := strings.TrimSuffix(f.mirrors[0], "/")
		err := f.fetchFrom(ctx, mirror+"/"+fileNames[i]+".gz", i)
		var local *localError
		if err == nil || ctx.Err() != nil || errors.As(err, &local) {
			return err
		}
		last = fmt.Errorf("mirror %s: %w", mirror, err)
		f.o.warn(last.Error())
	}
	reason := ErrNoMirror
	if f.o.Warn == nil && last != nil { // else it was told what was wrong with each
		reason = fmt.Errorf("%w: %w", ErrNoMirror, last)
	}
	return fmt.Errorf("%s.gz: %w", fileNames[i], reason)
}

// ErrNoMirror is the error of Fetch (errors.Is) when no mirror gives a file.
var ErrNoMirror = errors.New("no mirror gave it")

// localError is a failure of this machine's disk, which another mirror cannot mend.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// errBroken says that a download ended early and can go on.
var errBroken = errors.New("the connection broke off")

// fetchFrom downloads file i from url into a .part file, verifies it and gives it
// its name.
func (f *fetcher) fetchFrom(ctx context.Context, url string, i int) error {
	p := part{dir: f.dir, name: fileNames[i] + ".gz", limit: mnistSizes[i] + 1<<16}
	var err error
	for range tries {
		var resumed bool
		if resumed, err = f.download(ctx, url, &p); err == nil {
			if err = verifyMNIST(p.path(), i); err == nil {
				return p.finish()
			}
			p.remove()
			if !resumed {
				return err
			}
			// What was there before may have been damaged: once more from the start.
		} else if !errors.Is(err, errBroken) {
			return err
		}
	}
	return err
}

// download brings url into p and goes on from an earlier download where the
// server can. The error wraps errBroken when another attempt may go on.
func (f *fetcher) download(ctx context.Context, url string, p *part) (resumed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(idleTimeout, func() { cancel(fmt.Errorf("no data for %v", idleTimeout)) })
	defer idle.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	offset, etag := p.state(url)
	resumed = offset > 0
	if resumed {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", etag)
	}
	resp, err := f.client.Do(req)
	if ctx.Err() != nil {
		return resumed, context.Cause(ctx)
	}
	if err != nil {
		var e *neturl.Error // says the URL once more
		if errors.As(err, &e) {
			err = e.Err
		}
		return resumed, err
	}
	defer resp.Body.Close()
	switch goesOn := strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)); {
	case resp.StatusCode == http.StatusOK:
		offset = 0
	case resumed && resp.StatusCode == http.StatusPartialContent && goesOn:
	case resumed && (resp.StatusCode == http.StatusPartialContent || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable):
		p.remove()
		return resumed, fmt.Errorf("%w: another range came than the one from byte %d", errBroken, offset)
	default:
		return resumed, fmt.Errorf("HTTP status %d", resp.StatusCode)
	}

	out, err := p.open(offset, url, resp.Header.Get("ETag"))
	if err != nil {
		return resumed, &localError{err}
	}
	defer out.Close()
	total := int64(0) // unknown
	if resp.ContentLength >= 0 {
		total = offset + resp.ContentLength
	}
	buffer := make([]byte, 1<<16)
	for {
		n, err := resp.Body.Read(buffer)
		idle.Reset(idleTimeout)
		if offset += int64(n); max(offset, total) > p.limit {
			p.remove()
			return resumed, fmt.Errorf("more than %d bytes came", p.limit)
		}
		if _, err := out.Write(buffer[:n]); err != nil {
			return resumed, &localError{err}
		}
		f.o.progress("downloading "+p.name, offset, total)
		switch {
		case err == io.EOF:
			if err := out.Close(); err != nil {
				return resumed, &localError{err}
			}
			return resumed, nil
		case ctx.Err() != nil:
			return resumed, context.Cause(ctx)
		case err != nil:
			return resumed, fmt.Errorf("%w after %d bytes: %w", errBroken, offset, err)
		}
	}
}

// part is a file that is being downloaded. The file beside it, path+".from",
// says from where (the URL and the server's ETag), so that a later attempt goes
// on only with the same content.
type part struct {
	dir   string
	name  string // of the file once it is complete
	limit int64  // bytes
}

func (p *part) path() string { return filepath.Join(p.dir, p.name+".part") }
func (p *part) from() string { return p.path() + ".from" }

// state returns how much there is already of what url holds under etag, or 0.
func (p *part) state(url string) (offset int64, etag string) {
	info, err := os.Stat(p.path())
	if err != nil {
		return 0, ""
	}
	from, err := os.ReadFile(p.from())
	etag, ok := strings.CutPrefix(string(from), url+"\n")
	if err != nil || !ok {
		return 0, ""
	}
	return info.Size(), etag
}

// open opens the part for writing at offset, which is its end or 0. At 0 it notes
// where the content comes from, unless the ETag is missing or weak: those cannot
// prove that the content is the same.
func (p *part) open(offset int64, url, etag string) (*os.File, error) {
	if offset > 0 {
		return os.OpenFile(p.path(), os.O_WRONLY|os.O_APPEND, 0)
	}
	p.remove()
	f, err := os.OpenFile(p.path(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(etag, `"`) {
		if err := os.WriteFile(p.from(), []byte(url+"\n"+etag), 0o666); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

func (p *part) remove() {
	os.Remove(p.path())
	os.Remove(p.from())
}

// finish gives the verified file its name.
func (p *part) finish() error {
	in, err := os.Open(p.path())
	if err != nil {
		return &localError{err}
	}
	defer in.Close()
	err = atomicfile.Write(filepath.Join(p.dir, p.name), func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
	if err != nil {
		return &localError{err}
	}
	in.Close()
	p.remove()
	return nil
}
