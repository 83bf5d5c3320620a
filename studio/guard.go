package studio

import (
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
)

// guard stands before every route. It answers requests only that were sent to this
// server by name, so that no other page can reach it by a name of its own (DNS
// rebinding); that come from this page, unless they only read; and, where the server
// listens to other machines, that carry its token.
type guard struct {
	name  string // address that it listens on
	port  int
	token string // "": none is asked for
	next  http.Handler
	log   *slog.Logger
}

// policy is what the page may do: load what this server has, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// newGuard puts the guard before next. Requests of other origins that change
// something are refused by net/http's protection.
func newGuard(name string, port int, token string, next http.Handler, log *slog.Logger) http.Handler {
	protection := http.NewCrossOriginProtection()
	return &guard{name, port, token, protection.Handler(next), log}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	defer func() {
		switch e := recover(); e {
		case nil:
		case http.ErrAbortHandler:
			panic(e) // net/http closes the connection
		default:
			g.log.Error("panic in a handler", "path", r.URL.Path, "panic", e, "stack", string(debug.Stack()))
			http.Error(w, "internal error", http.StatusInternalServerError)
		}
	}()
	switch {
	case !g.hostAllowed(r.Host):
		http.Error(w, "this server does not go by that name", http.StatusMisdirectedRequest)
	case r.URL.IsAbs() || r.URL.Host != "":
		http.Error(w, "this is no proxy", http.StatusMisdirectedRequest)
	case !allowedMethods[r.Method]:
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	case strings.HasPrefix(r.URL.Path, "/api/") && foreign(r):
		// Other pages could not read an answer, but take all streams.
		http.Error(w, "not for other pages", http.StatusForbidden)
	case g.token != "" && !g.authorised(w, r):
		http.Error(w, "open the address that glassnet studio printed: it carries a token", http.StatusUnauthorized)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// foreign reports whether a browser says that another page asks. Programs say nothing.
func foreign(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}

var allowedMethods = map[string]bool{http.MethodGet: true, http.MethodHead: true, http.MethodPost: true}

// hostAllowed demands a name of the loopback, the address that is listened on, or with a
// token any address; and the server's port.
func (g *guard) hostAllowed(host string) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil && g.port == 80 { // which browsers leave out
		name, port, err = strings.Trim(host, "[]"), "80", nil
	}
	if err != nil || port != strconv.Itoa(g.port) {
		return false
	}
	if name == "localhost" || name == "127.0.0.1" || name == "::1" || name == g.name {
		return true
	}
	// Who has the token may come by any address, but by no name: names can be rebound.
	addr, err := netip.ParseAddr(name)
	return g.token != "" && err == nil && addr.String() == name
}

// tokenCookie carries the token once the page has been opened with it.
const tokenCookie = "glassnet-token"

// authorised compares the token of the cookie, or of the address, which it turns into
// the cookie.
func (g *guard) authorised(w http.ResponseWriter, r *http.Request) bool {
	same := func(t string) bool { return subtle.ConstantTimeCompare([]byte(t), []byte(g.token)) == 1 }
	if c, err := r.Cookie(tokenCookie); err == nil && same(c.Value) {
		return true
	}
	if r.Method == http.MethodGet && same(r.URL.Query().Get("token")) {
		http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: g.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		return true
	}
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && same(bearer)
}
