package experiment

import (
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"glassnet/internal/usererr"
)

// decodeStrict decodes TOML; an unknown key or a wrong type is a user error with its line
// and column, a key in other letters (Epochs) one without.
func decodeStrict(name string, text []byte, into any) *usererr.Error {
	decoder := toml.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	var unknown *toml.StrictMissingError
	var wrong *toml.DecodeError
	switch {
	case err == nil:
		// The decoder takes Epochs for epochs, and of both the last.
		var raw map[string]any
		if err := toml.Unmarshal(text, &raw); err != nil {
			return usererr.New("%s: %s", name, oneLine(err.Error()))
		}
		if key := inAnotherCase(reflect.TypeOf(into), nil, raw); key != nil {
			return usererr.New("%s: unknown key %q, want %s", name, strings.Join(key, "."), usererr.List(keysOf(reflect.TypeOf(into), key[:len(key)-1])))
		}
		return nil
	case errors.As(err, &unknown):
		first := unknown.Errors[0]
		line, column := first.Position()
		key := first.Key()
		form, known := reflect.TypeOf(into), 0
		for known < len(key)-1 && slices.Contains(keysOf(form, key[:known]), key[known]) {
			known++
		}
		return usererr.New("%s:%d:%d: unknown key %q, want %s", name, line, column,
			strings.Join(key[:known+1], "."), usererr.List(keysOf(form, key[:known])))
	case errors.As(err, &wrong):
		line, column := wrong.Position()
		return usererr.New("%s:%d:%d: %s", name, line, column, decodeMessage(wrong))
	}
	return usererr.New("%s: %s", name, oneLine(err.Error()))
}

// keysOf returns the keys of the table at that path in a form, in their order.
func keysOf(form reflect.Type, path []string) (keys []string) {
	for form.Kind() == reflect.Pointer || form.Kind() == reflect.Slice {
		form = form.Elem()
	}
	if form.Kind() != reflect.Struct {
		return nil
	}
	for _, f := range reflect.VisibleFields(form) {
		key := f.Tag.Get("toml")
		switch {
		case key == "":
		case len(path) == 0:
			keys = append(keys, key)
		case key == path[0]:
			return keysOf(f.Type, path[1:])
		}
	}
	return keys
}

// inAnotherCase returns the path of a key of a table that its form does not have in these
// letters, or nil.
func inAnotherCase(form reflect.Type, path []string, table map[string]any) []string {
	for _, key := range slices.Sorted(maps.Keys(table)) {
		here := append(slices.Clip(path), key)
		if !slices.Contains(keysOf(form, path), key) {
			return here
		}
		within, _ := table[key].([]any)
		for _, value := range append(within, table[key]) {
			if t, ok := value.(map[string]any); ok {
				if found := inAnotherCase(form, here, t); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// How the decoder reports a value of the wrong type or size.
var (
	mismatch = regexp.MustCompile(`cannot decode TOML (.+) into .* of type (\S+)`)
	negative = regexp.MustCompile(`negative integer value (\S+) cannot be stored`)
)

// formOf says in a file's words what a value of one of our types is.
var formOf = map[string]string{
	"string": "a text in quotes", "[]string": "texts in quotes, in brackets",
	"int": "a whole number", "[]int": "whole numbers in brackets",
	"uint64": "a whole number from 0 on", "[]uint64": "whole numbers from 0 on, in brackets",
	"float64": "a number", "bool": "true or false",
	"experiment.Config":       "a table, [common]",
	"[]experiment.Definition": "tables, [[experiment]]", "experiment.Definition": "tables, [[experiment]]",
	"[]experiment.Pair": "tables, [[comparison]]", "experiment.Pair": "tables, [[comparison]]",
}

// decodeMessage says what is wrong in the words of the file, not of our types.
func decodeMessage(e *toml.DecodeError) string {
	message, key := strings.TrimPrefix(oneLine(e.Error()), "toml: "), strings.Join(e.Key(), ".")
	if key != "" {
		key += ": "
	}
	if m := mismatch.FindStringSubmatch(message); m != nil {
		if want, known := formOf[m[2]]; known {
			return key + "got a TOML " + m[1] + ", want " + want
		}
		return key + "a TOML " + m[1] + " cannot stand here"
	}
	if m := negative.FindStringSubmatch(message); m != nil {
		return key + "got " + m[1] + ", want " + formOf["uint64"]
	}
	return message
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
