package report

import (
	"strconv"
	"strings"
)

// slug makes of a name what can stand in a file name and an anchor.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 64 {
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "unnamed"
}

// distinct gives each name a slug of its own.
func distinct(names []string) []string {
	taken := map[string]bool{}
	var slugs []string
	for _, name := range names {
		s := slug(name)
		for n := 2; taken[s]; n++ {
			s = slug(name) + "-" + strconv.Itoa(n)
		}
		taken[s] = true
		slugs = append(slugs, s)
	}
	return slugs
}

// slugOf is the slug of a study's i-th experiment.
func slugOf(s *study, i int) string { return s.experimentSlugs[i] }
