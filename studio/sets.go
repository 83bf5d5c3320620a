package studio

import (
	"context"
	"slices"
	"sync"

	"glassnet/dataset"
	"glassnet/internal/usererr"
)

// sets are the data sets that a training or a study can be about: the one that the studio
// was started with, and the named ones. Those that were asked for are kept.
type sets struct {
	names []string
	find  func(ctx context.Context, name string) (*dataset.Data, error)

	mu     sync.Mutex
	loaded map[string]*dataset.Data
}

func newSets(first *dataset.Data, find func(ctx context.Context, name string) (*dataset.Data, error)) *sets {
	s := &sets{names: []string{first.Name}, find: find, loaded: map[string]*dataset.Data{first.Name: first}}
	if find == nil {
		return s
	}
	for _, name := range []string{"mnist", "drawn-digits"} {
		if name != first.Name {
			s.names = append(s.names, name)
		}
	}
	return s
}

// load returns a data set by its name; "" is the first. Names are not paths: a page may
// not have files read.
func (s *sets) load(ctx context.Context, name string) (*dataset.Data, error) {
	if name == "" {
		name = s.names[0]
	}
	if !slices.Contains(s.names, name) {
		return nil, usererr.New("data set %.60q, want %s", name, usererr.List(s.names)).Try("glassnet studio --dataset %.60s", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded[name] == nil {
		data, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		s.loaded[name] = data
	}
	return s.loaded[name], nil
}
