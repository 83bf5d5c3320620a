package modelfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"glassnet/internal/usererr"
)

// jsonReader reads JSON whose structure is known, token by token. It is stricter
// than json.Unmarshal, which lets the last of equal keys win, takes "SHAPE" for
// "shape" and null for anything, and mends broken characters. Nesting is as deep
// as the caller's calls are.
type jsonReader struct {
	text []byte
	base int64 // offset of text in what the errors count from
	at   int   // offset in text of the last token
	dec  *json.Decoder
}

func newJSONReader(text []byte, base int64) *jsonReader {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &jsonReader{text: text, base: base, dec: dec}
}

// errorf names the place of the last token.
func (j *jsonReader) errorf(format string, args ...any) error {
	return usererr.New("byte %d: "+format, append([]any{j.base + int64(j.at)}, args...)...)
}

func (j *jsonReader) next() (json.Token, error) {
	rest := bytes.TrimLeft(j.text[j.dec.InputOffset():], " \t\r\n:,")
	j.at = len(j.text) - len(rest)
	t, err := j.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, j.errorf("the JSON text ends too early")
	}
	if err != nil {
		return nil, j.errorf("%v", err)
	}
	// The decoder puts U+FFFD for half a surrogate pair.
	if s, ok := t.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		return nil, j.errorf("%.80q has a broken character (U+FFFD or half a surrogate pair)", s)
	}
	return t, nil
}

// expect reads one token, which must satisfy ok.
func (j *jsonReader) expect(what, want string, ok func(json.Token) bool) error {
	t, err := j.next()
	if err == nil && !ok(t) {
		got := "null"
		if t != nil {
			got = fmt.Sprintf("%.80q", fmt.Sprint(t))
		}
		err = j.errorf("%s is %s, want %s", what, got, want)
	}
	return err
}

// object reads an object and calls field to read the value of each key.
func (j *jsonReader) object(what string, field func(key string) error) error {
	isObject := func(t json.Token) bool { return t == json.Delim('{') }
	if err := j.expect(what, "an object", isObject); err != nil {
		return err
	}
	seen := map[string]bool{}
	for j.dec.More() {
		t, err := j.next()
		if err != nil {
			return err
		}
		key := t.(string) // the decoder lets nothing else stand here
		if seen[key] {
			return j.errorf("%s has %.80q twice", what, key)
		}
		seen[key] = true
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := j.next()
	return err
}

// array reads an array and calls element to read each of its values.
func (j *jsonReader) array(what string, element func() error) error {
	isArray := func(t json.Token) bool { return t == json.Delim('[') }
	if err := j.expect(what, "an array", isArray); err != nil {
		return err
	}
	for j.dec.More() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := j.next()
	return err
}

// integer reads a number that is written as plain digits and at most limit.
func (j *jsonReader) integer(what string, limit int64) (v int64, err error) {
	err = j.expect(what, fmt.Sprintf("a whole number from 0 to %d", limit), func(t json.Token) bool {
		n, _ := t.(json.Number)
		u, err := strconv.ParseUint(string(n), 10, 63)
		v = int64(u)
		return err == nil && v <= limit
	})
	return v, err
}

func (j *jsonReader) number(what string) (v float64, err error) {
	err = j.expect(what, "a number that fits 64 bits", func(t json.Token) bool {
		n, _ := t.(json.Number)
		v, err = n.Float64()
		return err == nil
	})
	return v, err
}

func (j *jsonReader) string(what string) (v string, err error) {
	err = j.expect(what, "a string", func(t json.Token) (ok bool) {
		v, ok = t.(string)
		return ok
	})
	return v, err
}

func (j *jsonReader) bool(what string) (v bool, err error) {
	err = j.expect(what, "true or false", func(t json.Token) (ok bool) {
		v, ok = t.(bool)
		return ok
	})
	return v, err
}

// end checks that nothing but white space follows.
func (j *jsonReader) end() error {
	if j.dec.More() {
		if _, err := j.next(); err != nil {
			return err
		}
		return j.errorf("text after the end of the JSON object")
	}
	return nil
}
