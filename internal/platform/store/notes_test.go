package store_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
)

// A note is what all who share the store have made of it, one after the other, and
// outlives them.
func TestNotes(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		is := func() (text string) {
			t.Helper()
			err := s.Change(t.Context(), "a", func(old []byte) ([]byte, error) {
				text = string(old)
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if got := is(); got != "" {
			t.Errorf("a note that was never written is %q", got)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 5 {
					err := s.Change(t.Context(), "a", func(old []byte) ([]byte, error) {
						n, _ := strconv.Atoi(string(old)) // nothing is 0
						return fmt.Append(nil, n+1), nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if got := is(); got != "20" {
			t.Errorf("changed 20 times it is %q", got)
		}
		if o.Postgres != "" {
			other, all := open(t, o), sync.WaitGroup{}
			for _, s := range []*store.Store{s, other} {
				all.Go(func() {
					for range 20 {
						if err := s.Change(t.Context(), "b", func(old []byte) ([]byte, error) {
							return append(old, 'x'), nil
						}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			err := s.Change(t.Context(), "b", func(old []byte) ([]byte, error) {
				if len(old) != 40 {
					t.Errorf("two processes changed it 40 times, it shows %d", len(old))
				}
				return nil, nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		broken := errors.New("broken")
		if err := s.Change(t.Context(), "a", func([]byte) ([]byte, error) {
			return []byte("x"),
				broken
		}); !errors.Is(err, broken) || is() != "20" {
			t.Errorf("a change that failed: %v, %q", err, is())
		}
		if o.Memory {
			return
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = open(t, o); is() != "20" {
			t.Errorf("opened again it is %q", is())
		}
	})
}
