package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// What a write of the model does beside adding to its rows.
const (
	passes = iota
	fails
	failsByAStatement
	isCancelled
	panics
	kindsOfWrites
)

// What happens at the commits of a round.
const (
	nothing = iota
	beforeCommit
	afterCommit
	kindsOfCrashes
)

var (
	errOwn   = errors.New("own")   //nolint:gochecknoglobals // a sentinel
	errCrash = errors.New("crash") //nolint:gochecknoglobals // a sentinel
)

// A modelWrite is one write of a round: it adds to a row of its own and to the one of all.
type modelWrite struct {
	kind int
	name string
}

// try does the write, and returns what its caller sees.
func (w modelWrite) try(ctx context.Context, s *store.Store) (err error, panicked bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if w.kind == isCancelled {
		cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			panicked = strings.Contains(fmt.Sprint(p), "panic of "+w.name+",")
		}
	}()
	err = s.Write(ctx, func(tx *store.Tx) error {
		for _, name := range []string{w.name, "all"} {
			if err := add(name)(tx); err != nil {
				return err
			}
		}
		switch w.kind {
		case fails:
			return errOwn
		case failsByAStatement:
			_, err := tx.Exec("insert into tries (name) values (?)", w.name)
			return err
		case panics:
			panic("panic of " + w.name)
		}
		return nil
	})
	return err, false
}

// check compares what the caller sees with what a write of this kind gives.
func (w modelWrite) check(t *testing.T, crash int, err error, panicked bool) {
	t.Helper()
	ok := false
	switch w.kind {
	case passes:
		ok = crash == nothing && err == nil || crash != nothing && errors.Is(err, errCrash) && store.Away(err)
	case fails:
		ok = errors.Is(err, errOwn)
	case failsByAStatement:
		ok = err != nil && !errors.Is(err, errCrash)
	case isCancelled:
		ok = errors.Is(err, context.Canceled)
	case panics:
		ok = panicked
	}
	if !ok || panicked != (w.kind == panics) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("a write of kind %d with crash %d: %v, panicked %t", w.kind, crash, err, panicked)
	}
}

// Whatever writes come at once, and whatever becomes of them, the store has what a map has that is changed by those
// that
// pass alone: one that fails, is cancelled or panics takes nothing with it and lets no other wait; a crash before the
// commit keeps none of a commit and one behind it all.
func TestWritesAgainstAModel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o store.Options) {
		t.Parallel()
		r := rand.New(rand.NewPCG(14, 8))
		s, model := table(t, o), make(map[string]int64)
		for round := range 40 {
			crash := r.IntN(kindsOfCrashes)
			if round%2 == 0 {
				crash = nothing
			}
			s.Intercept(func(before bool) error {
				if crash == beforeCommit && before || crash == afterCommit && !before {
					return errCrash
				}
				return nil
			})
			var all sync.WaitGroup
			for i := range 1 + r.IntN(12) {
				w := modelWrite{r.IntN(kindsOfWrites), fmt.Sprint("row", i)}
				if w.kind == passes && crash != beforeCommit {
					model[w.name]++
					model["all"]++
				}
				all.Go(func() {
					err, panicked := w.try(t.Context(), s)
					w.check(t, crash, err, panicked)
				})
			}
			all.Wait()
			s.Intercept(nil)
			if !o.Memory && r.IntN(8) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, o)
			}
			if diff := cmp.Diff(model, rowsOf(t, s)); diff != "" {
				t.Fatalf("round %d, crash %d (-model +store):\n%s", round, crash, diff)
			}
		}
		if model["all"] == 0 || len(model) < 5 {
			t.Errorf("the rounds have done nothing: %v", model)
		}
	})
}

// rowsOf are the rows of the tests' table.
func rowsOf(t *testing.T, s *store.Store) map[string]int64 {
	t.Helper()
	all := make(map[string]int64)
	for _, name := range read[string](t, s, "select name from tries") {
		all[name] = read[int64](t, s, "select n from tries where name = ?", name)[0]
	}
	return all
}

// A note is what a map has in its place: whatever changes come, the ones that fail or that change nothing leave it.
func TestNotesAgainstAModel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o store.Options) {
		t.Parallel()
		r := rand.New(rand.NewPCG(14, 9))
		s, model := open(t, o), make(map[string]string)
		for range 60 {
			name, text := fmt.Sprint("note", r.IntN(4)), strings.Repeat("x", r.IntN(40))
			kind, given := r.IntN(3), "never asked"
			err := s.Change(t.Context(), name, func(old []byte) ([]byte, error) {
				if given = string(old); old == nil {
					given = "nothing"
				}
				switch kind {
				case fails:
					return []byte("lost"), errOwn
				case passes:
					return []byte(text), nil
				}
				return nil, nil
			})
			was, known := model[name]
			if !known {
				was = "nothing"
			}
			if given != was || errors.Is(err, errOwn) != (kind == fails) || err != nil && kind != fails {
				t.Fatalf("%s of kind %d: it was given %q, want %q; %v", name, kind, given, was, err)
			}
			if kind == passes {
				model[name] = text
			}
		}
		for name, want := range maps.All(model) {
			err := s.Change(t.Context(), name, func(old []byte) ([]byte, error) {
				if string(old) != want {
					t.Errorf("%s is %q, want %q", name, old, want)
				}
				return nil, nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// Times are kept to the millisecond, and no time stays no time.
func TestMillis(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 10))
	for range 1000 {
		ms := r.Int64N(4e12) - 1e12
		if ms == 0 {
			continue
		}
		if got := store.Millis(store.Time(ms)); got != ms || store.Time(ms).Location().String() != "UTC" {
			t.Errorf("%d is %d", ms, got)
		}
	}
	if !store.Time(0).IsZero() || store.Millis(store.Time(0)) != 0 {
		t.Error("none is a time")
	}
}
