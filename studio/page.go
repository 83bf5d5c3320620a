package studio

import (
	"embed"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// dist is the page, built from web/ by "npm ci && npm run build" there.
//
//go:embed web/dist
var dist embed.FS

// assets serves the built files, and nothing else: no listings, no other paths.
func assets() http.Handler {
	root, err := fs.Sub(dist, "web/dist")
	if err != nil {
		panic(err) // the path above is wrong: every test would fail
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		content, err := fs.ReadFile(root, name)
		if err != nil || path.Clean("/"+name) != "/"+name {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", types[path.Ext(name)])
		w.Header().Set("Cache-Control", "no-cache")
		if r.Method == http.MethodGet {
			_, _ = w.Write(content)
		}
	})
}

// types are those of the files of the page; the operating system's table may differ.
var types = map[string]string{
	".html": mime.FormatMediaType("text/html", map[string]string{"charset": "utf-8"}),
	".js":   mime.FormatMediaType("text/javascript", map[string]string{"charset": "utf-8"}),
	".css":  mime.FormatMediaType("text/css", map[string]string{"charset": "utf-8"}),
	".svg":  "image/svg+xml",
}
