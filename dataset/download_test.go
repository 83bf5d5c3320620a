package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"glassnet/internal/atomicfile"
)

// mirror serves the four files compressed and notes what it was asked for. Its
// first request goes to first, where that is set.
type mirror struct {
	*httptest.Server
	first func(w http.ResponseWriter, r *http.Request, content []byte)
	mu    sync.Mutex
	asked []string // "name range if-range"
}

func newMirror(t *testing.T, files [4][]byte) *mirror {
	m := &mirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked = append(m.asked, strings.TrimSpace(path.Base(r.URL.Path)+" "+r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		first := m.first
		m.first = nil
		m.mu.Unlock()
		i := slices.Index(fileNames[:], strings.TrimSuffix(path.Base(r.URL.Path), ".gz"))
		content := zip(files[i])
		w.Header().Set("ETag", `"v1"`)
		if first != nil {
			first(w, r, content)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(m.Close)
	return m
}

// sendHalf promises all of content and breaks off in the middle.
func sendHalf(w http.ResponseWriter, r *http.Request, content []byte) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Write(content[:len(content)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// checkFetched demands MNIST in the cache and nothing beside it but the lock.
func checkFetched(t *testing.T, files [4][]byte) {
	t.Helper()
	dir := cached(t, "mnist")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := []string{".lock"}
	for i, name := range fileNames {
		want = append(want, name+".gz")
		if err := verifyMNIST(filepath.Join(dir, name+".gz"), i); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files in the cache = %q, want %q", got, want)
	}
}

func TestFetch(t *testing.T) {
	files := fakeMNIST(t)
	isolate(t)
	m := newMirror(t, files)
	var done, total int64
	o := Options{Mirrors: []string{m.URL}, Progress: func(stage string, d, n int64) {
		if stage == "downloading "+fileNames[0]+".gz" {
			done, total = d, n
		}
	}}
	lines := listen(&o)
	data, err := Load(context.Background(), "", o)
	if err != nil || data.Name != "mnist" || data.Origin != "downloaded to "+cached(t, "mnist") || data.Fallback {
		t.Fatalf("Load = %+v, %v; want MNIST, downloaded", data, err)
	}
	checkFetched(t, files)
	if want := int64(len(zip(files[0]))); done != want || total != want {
		t.Errorf("last progress = %d of %d, want %d of %d", done, total, want, want)
	}
	if data, err = Load(context.Background(), "mnist", o); err != nil || data.Origin != "found in "+cached(t, "mnist") {
		t.Errorf("Load again = %+v, %v; want MNIST, found", data, err)
	}
	if dir, err := Fetch(context.Background(), o); err != nil || dir != cached(t, "mnist") {
		t.Errorf("Fetch again = %q, %v; want %q", dir, err, cached(t, "mnist"))
	}
	if len(m.asked) != 4 || len(*lines) != 0 {
		t.Errorf("asked %q with warnings %q, want four files once and none", m.asked, *lines)
	}

	// What is missing or damaged comes again, the rest stays.
	os.Remove(cached(t, "mnist", fileNames[0]+".gz"))
	m.asked = nil
	if _, err := Load(context.Background(), "mnist", o); err != nil {
		t.Errorf("Load with three files in the cache = %v, want nil", err)
	}
	if want := []string{fileNames[0] + ".gz"}; !slices.Equal(m.asked, want) {
		t.Errorf("asked %q, want %q", m.asked, want)
	}
	os.Remove(cached(t, "mnist", fileNames[1]+".gz"))
	save(t, cached(t, "mnist", fileNames[3]+".gz"), zip(files[1]))
	m.asked = nil
	if _, err := Fetch(context.Background(), o); err != nil {
		t.Error(err)
	}
	checkFetched(t, files)
	if want := []string{fileNames[1] + ".gz", fileNames[3] + ".gz"}; !slices.Equal(m.asked, want) {
		t.Errorf("asked %q, want %q", m.asked, want)
	}
	if len(*lines) != 1 || !strings.Contains((*lines)[0], "; it is downloaded again") {
		t.Errorf("warnings = %q, want one about the damaged file", *lines)
	}
}

// A mirror that misbehaves once, each in its way, and what it is asked then.
func TestFetchResume(t *testing.T) {
	files := fakeMNIST(t)
	half := len(zip(files[0])) / 2
	from := fmt.Sprintf(" bytes=%d-", half)
	full, rest := fileNames[0]+".gz", fileNames[0]+".gz"+from+` "v1"`
	tests := []struct {
		name  string
		first func(m *mirror) func(http.ResponseWriter, *http.Request, []byte)
		asked []string // of the first file
	}{
		{"broken off", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) { return sendHalf }, []string{full, rest}},
		{"broken off, chunked", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				w.Write(content[:half])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}, []string{full, rest}},
		{"without ETag", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				w.Header().Del("ETag")
				sendHalf(w, r, content)
			}
		}, []string{full, full}},
		{"weak ETag", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				w.Header().Set("ETag", `W/"v1"`)
				sendHalf(w, r, content)
			}
		}, []string{full, full}},
		{"changed meanwhile", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				w.Header().Set("ETag", `"v0"`)
				sendHalf(w, r, bytes.Repeat([]byte{7}, len(content)))
			}
		}, []string{full, fileNames[0] + ".gz" + from + ` "v0"`}},
		{"ignores ranges", func(m *mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				m.first = func(w http.ResponseWriter, r *http.Request, content []byte) { w.Write(content) }
				sendHalf(w, r, content)
			}
		}, []string{full, rest}},
		{"another range", func(m *mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				m.first = func(w http.ResponseWriter, r *http.Request, content []byte) {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes 1-%d/%d", len(content)-1, len(content)))
					w.WriteHeader(http.StatusPartialContent)
					w.Write(content[1:])
				}
				sendHalf(w, r, content)
			}
		}, []string{full, rest, full}},
		{"refuses the range", func(m *mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				m.first = func(w http.ResponseWriter, r *http.Request, content []byte) {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				}
				sendHalf(w, r, content)
			}
		}, []string{full, rest, full}},
		{"first half damaged", func(*mirror) func(http.ResponseWriter, *http.Request, []byte) {
			return func(w http.ResponseWriter, r *http.Request, content []byte) {
				sendHalf(w, r, put(content, 12, 0xff, 0xff))
			}
		}, []string{full, rest, full}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			isolate(t)
			m := newMirror(t, files)
			m.first = c.first(m)
			o := Options{Mirrors: []string{m.URL + "/"}}
			lines := listen(&o)
			if _, err := Fetch(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			checkFetched(t, files)
			if got := m.asked[:len(m.asked)-3]; !slices.Equal(got, c.asked) || len(*lines) != 0 {
				t.Errorf("asked for the first file %q with warnings %q, want %q and none", got, *lines, c.asked)
			}
		})
	}
}

// A download that one Fetch began goes on in the next.
func TestFetchGoesOn(t *testing.T) {
	files := fakeMNIST(t)
	isolate(t)
	m := newMirror(t, files)
	ctx, cancel := context.WithCancel(context.Background())
	m.first = func(w http.ResponseWriter, r *http.Request, content []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:10])
		w.(http.Flusher).Flush()
		<-r.Context().Done() // hangs
	}
	o := Options{Mirrors: []string{m.URL}, Progress: func(_ string, done, _ int64) {
		if done == 10 {
			cancel()
		}
	}}
	lines := listen(&o)
	if _, err := Load(ctx, "", o); !errors.Is(err, context.Canceled) {
		t.Fatalf("Load with the context cancelled in the middle = %v, want %v", err, context.Canceled)
	}
	if len(*lines) != 0 {
		t.Errorf("warnings = %q, want none: the mirror is not to blame, nothing is drawn instead", *lines)
	}
	if _, err := Fetch(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	checkFetched(t, files)
	if want := fileNames[0] + `.gz bytes=10- "v1"`; m.asked[1] != want {
		t.Errorf("asked %q, want %q second", m.asked, want)
	}
}

// A mirror that cannot be used is given up for all files, and the next one serves.
func TestFetchNextMirror(t *testing.T) {
	files := fakeMNIST(t)
	other := files
	other[0] = put(files[0], -1, 99)
	old := idleTimeout
	t.Cleanup(func() { idleTimeout = old })
	tests := []struct {
		name     string
		bad      func(w http.ResponseWriter, r *http.Request)
		want     string // in the warning
		requests int
	}{
		{"404", http.NotFound, "HTTP status 404", 1},
		{"other digits", func(w http.ResponseWriter, r *http.Request) { w.Write(zip(other[0])) }, "SHA-256 of the decompressed content is", 1},
		{"a web page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>log in</html>") }, "not an IDX file", 1},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, "byte 0: the file ends", 1},
		{"absurd length", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10000000000000")
			w.Write(make([]byte, 100))
		}, "more than 65570 bytes came", 1},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1<<15))
			}
		}, "more than 65570 bytes came", 1},
		{"always breaks off", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"a"`)
			sendHalf(w, r, zip(files[0]))
		}, "the connection broke off after", tries},
		{"hangs before the header", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no data for 500ms", 1},
		{"hangs in the middle", func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("abc"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "no data for 500ms", 1},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			isolate(t)
			idleTimeout = old
			if strings.HasPrefix(c.name, "hangs") {
				idleTimeout = 500 * time.Millisecond
			}
			requests := 0
			bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				c.bad(w, r)
			}))
			defer bad.Close()
			good := newMirror(t, files)
			o := Options{Mirrors: []string{bad.URL, good.URL}}
			lines := listen(&o)
			if _, err := Fetch(context.Background(), o); err != nil {
				t.Fatal(err)
			}
			checkFetched(t, files)
			if len(*lines) != 1 || !strings.HasPrefix((*lines)[0], "mirror "+bad.URL+": ") || !strings.Contains((*lines)[0], c.want) {
				t.Errorf("warnings = %q, want one of mirror %s with %q", *lines, bad.URL, c.want)
			}
			if requests != c.requests {
				t.Errorf("requests to the bad mirror = %d, want %d", requests, c.requests)
			}
		})
	}
}

func TestFetchErrors(t *testing.T) {
	files := fakeMNIST(t)
	fewDigits(t)
	isolate(t)
	ctx := context.Background()
	gone := httptest.NewServer(nil)
	gone.Close()
	o := Options{Mirrors: []string{gone.URL, "http://bad host"}, DrawnSeed: unpinned}

	_, err := Fetch(ctx, o)
	if want := `train-images-idx3-ubyte.gz: no mirror gave it: mirror http://bad host: `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("Fetch without a mirror that answers = %v, want %s...", err, want)
	}
	_, err = Load(ctx, "mnist", o)
	checkUserError(t, `Load("mnist")`, err, "MNIST is not here and could not be downloaded: train-images")
	lines := listen(&o)
	if data, err := Load(ctx, "", o); err != nil || !data.Fallback {
		t.Errorf(`Load("") = %+v, %v; want drawn-digits as a fallback`, data, err)
	}
	if last := (*lines)[len(*lines)-1]; len(*lines) != 3 || !strings.HasSuffix(last, "train-images-idx3-ubyte.gz: no mirror gave it; using drawn-digits, digits that this program draws itself (MNIST's four files belong in data/mnist)") {
		t.Errorf("warnings = %q, want one per mirror and the fallback", *lines)
	}
	if _, err := Fetch(ctx, Options{Mirrors: []string{}}); !errors.Is(err, ErrNoMirror) {
		t.Errorf("Fetch with an empty list of mirrors = %v, want ErrNoMirror", err)
	}
	_, err = Fetch(ctx, Options{Offline: true})
	checkUserError(t, "Fetch offline", err, "offline")

	// A disk that does not take the file is no mirror's fault.
	m := newMirror(t, files)
	o.Mirrors = []string{m.URL, m.URL}
	for _, name := range []string{".gz.part", ".gz.part.from", ".gz"} {
		blocked := cached(t, "mnist", fileNames[0]+name, "x", "y") // a folder with something in it
		save(t, blocked, nil)
		*lines = nil
		if _, err := Fetch(ctx, o); err == nil || len(*lines) > 1 {
			t.Errorf("Fetch with a folder at *%s = %v, warnings %q; want an error that is no mirror's", name, err, *lines)
		}
		if err := os.RemoveAll(cached(t, "mnist", fileNames[0]+name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(cached(t)); err != nil {
		t.Fatal(err)
	}
	save(t, cached(t), nil)
	if _, err := Fetch(ctx, o); err == nil {
		t.Error("Fetch with a file as cache folder = nil, want an error")
	}
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, "")
	}
	_, err = Fetch(ctx, o)
	checkUserError(t, "Fetch without a home", err, "no cache folder")
}

func TestFinish(t *testing.T) {
	p := part{dir: t.TempDir(), name: "f"}
	var local *localError
	if err := p.finish(); !errors.As(err, &local) {
		t.Errorf("finish without a part = %v, want a local error", err)
	}
	save(t, p.path(), nil)
	save(t, filepath.Join(p.dir, "f", "x"), nil)
	if err := p.finish(); !errors.As(err, &local) {
		t.Errorf("finish over a folder = %v, want a local error", err)
	}
}

// Several at once: one downloads, the others wait for it.
func TestFetchTogether(t *testing.T) {
	files := fakeMNIST(t)
	isolate(t)
	m := newMirror(t, files)
	m.first = func(w http.ResponseWriter, r *http.Request, content []byte) {
		time.Sleep(50 * time.Millisecond)
		w.Write(content)
	}
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := Fetch(context.Background(), Options{Mirrors: []string{m.URL}}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	checkFetched(t, files)
	if len(m.asked) != 4 {
		t.Errorf("asked %q, want four files once", m.asked)
	}

	unlock, err := atomicfile.TryLock(cached(t, "mnist", ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{Mirrors: []string{m.URL}, Warn: func(line string) { cancel() }}
	if _, err := Fetch(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch cancelled while another one runs = %v, want %v", err, context.Canceled)
	}
}

func TestRedirects(t *testing.T) {
	check := newFetcher("", Options{}).client.CheckRedirect
	request := func(url string) *http.Request {
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	secure, plain := request("https://a"), request("http://a")
	for _, c := range []struct {
		name string
		to   *http.Request
		via  []*http.Request
		ok   bool
	}{
		{"https to https", secure, []*http.Request{secure}, true},
		{"http to http", plain, []*http.Request{plain}, true},
		{"https to http", plain, []*http.Request{secure}, false},
		{"round and round", secure, slices.Repeat([]*http.Request{secure}, 10), false},
	} {
		if err := check(c.to, c.via); (err == nil) != c.ok {
			t.Errorf("%s: error = %v, want ok = %v", c.name, err, c.ok)
		}
	}
	for _, m := range mnistMirrors {
		if !strings.HasPrefix(m, "https://") {
			t.Errorf("mirror %s, want https", m)
		}
	}
}
