// Package usererr marks the errors that a user can mend: a wrong flag, a bad
// file, an impossible value. The command line answers them with exit code 2 and
// prints them as one line; every other error is the program's own failure.
package usererr

import (
	"errors"
	"fmt"
	"strings"
)

// Error is an error in what the user gave. Hint, when not empty, says what to
// do next; Setting, when not empty, is the name of the setting that cannot be what
// it is.
type Error struct {
	err     error
	Hint    string
	Setting string
}

// New formats like fmt.Errorf, %w included: of a user error within, the hint goes on.
func New(format string, args ...any) *Error {
	e := &Error{err: fmt.Errorf(format, args...)}
	if within, ok := Find(e.Unwrap()); ok {
		e.Hint = within.Hint
	}
	return e
}

// Try returns a copy of e that carries the hint.
func (e *Error) Try(format string, args ...any) *Error {
	with := *e
	with.Hint = fmt.Sprintf(format, args...)
	return &with
}

// Of returns a copy of e that names the setting.
func (e *Error) Of(setting string) *Error {
	with := *e
	with.Setting = setting
	return &with
}

func (e *Error) Error() string { return e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// List names what something may be: "a, b or c".
func List(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// Find returns the outermost user error in err's chain, and whether there is one.
func Find(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
