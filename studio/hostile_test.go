package studio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends text as it is and returns the status that comes back, 0 when the
// connection is closed without one.
func (p page) raw(text string) int {
	p.t.Helper()
	c, err := net.Dial("tcp", p.host)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(8 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return 0
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	return r.StatusCode
}

func (p page) port() string { return p.host[strings.LastIndexByte(p.host, ':')+1:] }

// Names that are not this server's, on routes of every sort. Who gets a page to call
// them reaches nothing.
func TestForeignHosts(t *testing.T) {
	p := open(t)
	port := p.port()
	tried := 0
	for _, host := range []string{
		"evil.com", "evil.com:" + port, "localhost.evil.com:" + port, "127.0.0.1.nip.io:" + port, "127.1:" + port,
		"0.0.0.0:" + port, "2130706433:" + port, "0x7f000001:" + port, "[::ffff:127.0.0.1]:" + port, "", "localhost", "127.0.0.1",
		"localhost:1", "localhost:" + port + "0", "LOCALHOST.:" + port, "localhost.:" + port, "127.0.0.1.:" + port,
		"user@localhost:" + port, "localhost:" + port + "@evil.com", "[::1]", "[::]:" + port, "10.0.0.1:" + port,
		"127.0.0.2:" + port, "localhost:" + port + ":" + port, "ip6-localhost:" + port, "lоcalhost:" + port,
	} {
		for _, path := range []string{"/", "/api/state", "/api/events", "/nothing"} {
			if code := p.raw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"); code != 421 && code != 400 {
				t.Errorf("Host %q, %s: status %d", host, path, code)
			}
			tried++
		}
	}
	for _, request := range []string{
		"GET /api/state HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /api/state HTTP/1.0\r\nConnection: close\r\n\r\n",
		"GET /api/state HTTP/1.1\r\nHost: localhost:" + port + "\r\nHost: evil.com\r\nConnection: close\r\n\r\n",
		"GET http://evil.com/api/state HTTP/1.1\r\nHost: localhost:" + port + "\r\nConnection: close\r\n\r\n",
		"GET http://localhost:" + port + "/api/state HTTP/1.1\r\nHost: localhost:" + port + "\r\nConnection: close\r\n\r\n",
		"CONNECT evil.com:443 HTTP/1.1\r\nHost: evil.com:443\r\nConnection: close\r\n\r\n",
	} {
		if code := p.raw(request); code == 200 {
			t.Errorf("%q: status 200", request)
		}
		tried++
	}
	for _, host := range []string{"localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port} {
		if code := p.raw("GET /api/state HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"); code != 200 {
			t.Errorf("own name %s: status %d", host, code)
		}
	}
	t.Logf("%d hostile requests", tried)
}

// Methods, sites and origins in every combination: other pages are answered nothing,
// and what changes something needs this page's origin or a program without one.
func TestOrigins(t *testing.T) {
	p := open(t)
	own := "http://" + p.host
	tried, let := 0, 0
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
		for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none"} {
			for _, origin := range []string{"", own, "http://evil.com", "null", "http://localhost:1"} {
				body, kind := "", ""
				path := "/api/state"
				if method == "POST" {
					path, body, kind = "/api/control", `{"action":"nothing"}`, "Content-Type: application/json\r\n"
				}
				header := kind
				if site != "" {
					header += "Sec-Fetch-Site: " + site + "\r\n"
				}
				if origin != "" {
					header += "Origin: " + origin + "\r\n"
				}
				code := p.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, p.host, header, len(body), body))
				want := 405
				switch method {
				case "GET", "HEAD":
					want = 200
					if site == "same-site" || site == "cross-site" {
						want = 403
					}
				case "POST":
					want = 403
					if site == "same-origin" || site == "none" || site == "" && (origin == "" || origin == own) {
						want = 422 // it is listened to: no training is there
						let++
					}
				}
				if code != want {
					t.Errorf("%s, Sec-Fetch-Site %q, Origin %q: status %d, want %d", method, site, origin, code, want)
				}
				tried++
			}
		}
	}
	if tried != 200 || let != 12 {
		t.Errorf("%d combinations, %d let through", tried, let)
	}
}

// Every route only reads or asks for JSON by POST; the reading ones leave everything as
// it is, and none does by GET what it does by POST.
func TestReadingChangesNothing(t *testing.T) {
	p := open(t)
	p.post("/api/configure", settings(), nil)
	p.post("/api/control", object{"action": "batch"}, nil)
	var before, after json.RawMessage
	p.get("/api/state", &before)
	for pattern := range (&server{}).routes() {
		method, path, _ := strings.Cut(pattern, " ")
		switch {
		case path == "/api/events":
		case method == "GET":
			p.get(path, nil)
			if code := p.raw("HEAD " + path + " HTTP/1.1\r\nHost: " + p.host + "\r\nConnection: close\r\n\r\n"); code == 0 || code >= 500 {
				t.Errorf("HEAD %s: status %d", path, code)
			}
		case method == "POST":
			if code := p.raw("GET " + path + " HTTP/1.1\r\nHost: " + p.host + "\r\nConnection: close\r\n\r\n"); code == 200 && path != "/api/study" {
				t.Errorf("GET %s: status %d", path, code)
			}
			if code := p.raw("POST " + path + " HTTP/1.1\r\nHost: " + p.host + "\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"); code != 415 {
				t.Errorf("POST %s of text: status %d, want 415", path, code)
			}
		default:
			t.Errorf("route %q neither reads nor is POST", pattern)
		}
	}
	if p.get("/api/state", &after); !bytes.Equal(before, after) {
		t.Errorf("reading changed\n%s\nto\n%s", before, after)
	}
}

// What is too long, of another kind or not JSON is refused; no path leads elsewhere.
func TestBadRequests(t *testing.T) {
	p := open(t)
	post := func(kind, body string) int {
		return p.raw(fmt.Sprintf("POST /api/control HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", p.host, kind, len(body), body))
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "text/json", ";", "application/json, text/plain"} {
		if code := post(kind, `{"action":"start"}`); code != 415 {
			t.Errorf("Content-Type %q: status %d, want 415", kind, code)
		}
	}
	for _, body := range []string{"", "{", "[]", "null x", `{"action":1}`, `{"action":"start"} {}`, `{"other":1}`, strings.Repeat("[", 20000), "\xff\xfe", `{"action":"start"}garbage`} {
		if code := post("application/json", body); code != 400 {
			t.Errorf("body %.30q: status %d, want 400", body, code)
		}
	}
	if code := post("application/json", `{"action":"`+strings.Repeat("x", maxBody)+`"}`); code != 413 && code != 0 {
		t.Errorf("a body that is too long: status %d", code)
	}
	if code := p.raw("GET /api/state HTTP/1.1\r\nHost: " + p.host + "\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"); code != 431 && code != 0 {
		t.Errorf("headers that are too long: status %d", code)
	}
	for _, path := range []string{
		"/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%252e%252e/etc/passwd", "/..;/etc/passwd", "/....//etc/passwd",
		`/..\..\etc\passwd`, "/..%5c..%5cetc", "/%00", "/api/state%00", "//etc/passwd", "/api//state", "/api/./state/../../x", "/file:///etc/passwd",
		"/debug/pprof/", "/debug/vars", "/.git/config", "/.env", "/api", "/api/", "/api/unknown", "/assets/../../go.mod", "/assets/..%2f..%2fgo.mod",
		"/CON", "/nul", "/" + strings.Repeat("a", 5000), "/api/state/", "/API/STATE", "/wp-login.php", "/server-status",
	} {
		code := p.raw("GET " + path + " HTTP/1.1\r\nHost: " + p.host + "\r\nConnection: close\r\n\r\n")
		if code != 404 && code != 400 && code != 301 && code != 307 {
			t.Errorf("%.60q: status %d", path, code)
		}
	}
}

// Every answer forbids what the page does not need.
func TestHeaders(t *testing.T) {
	p := open(t)
	for _, path := range []string{"/", "/api/state", "/nothing"} {
		r, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("policy %s", policy)
	}
}

// Clients that begin a request and do not end it are let go.
func TestHalfRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("waits some seconds for the server's patience to end; runs without -short")
	}
	p := open(t)
	var open []net.Conn
	for range 50 {
		c, err := net.Dial("tcp", p.host)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nX-Slow: ", p.host)
		open = append(open, c)
	}
	if code := p.get("/api/state", nil); code != 200 {
		t.Errorf("status %d beside half requests", code)
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(2 * headerWithin))
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("the connection is still open: %v", err)
		}
	}
}

// Where other machines can come, nobody gets in without the token.
func TestToken(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{Data: digits(t), Listen: "0.0.0.0"}, func(url string) { address <- url })
	}()
	url := <-address
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	base, token, found := strings.Cut(strings.Replace(url, "0.0.0.0", "127.0.0.1", 1), "?token=")
	if !found || len(token) < 26 {
		t.Fatalf("address %s", url)
	}
	get := func(path string, header ...string) (int, *http.Response) {
		request, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		r, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode, r
	}
	for _, path := range []string{"", "api/state", "api/events", "api/state?token=", "api/state?token=" + token[1:], "api/state?token=" + strings.ToLower(token)} {
		if code, _ := get(path); code != 401 {
			t.Errorf("%s: status %d, want 401", path, code)
		}
	}
	if code, _ := get("api/state", "Cookie", tokenCookie+"=x"); code != 401 {
		t.Errorf("a wrong cookie: status %d", code)
	}
	if code, _ := get("api/state", "Authorization", "Bearer "+token); code != 200 {
		t.Errorf("the token as bearer: status %d", code)
	}
	code, r := get("api/state?token=" + token)
	if code != 200 || len(r.Cookies()) != 1 || !r.Cookies()[0].HttpOnly || r.Cookies()[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("status %d, cookies %v", code, r.Cookies())
	}
	if code, _ := get("api/state", "Cookie", tokenCookie+"="+token); code != 200 {
		t.Errorf("the cookie: status %d", code)
	}
}
