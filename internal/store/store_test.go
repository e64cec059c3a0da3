package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/store"
)

func open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func pause(scope string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec("insert into pauses (scope, reason, by, since) values (?, 'r', 'b', 1)", scope)
		return err
	}
}

func count(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	rows, err := s.Query(t.Context(), "select count(*) from pauses")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWriteManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if err := s.Write(t.Context(), pause(strings.Repeat("x", i+1))); err != nil {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if got := count(t, s); got != 500 {
		t.Errorf("%d rows after reopening, want 500", got)
	}
}

// A write that fails is undone alone, though it shares a commit with others.
func TestWriteUndoneAlone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	broken := errors.New("broken")
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			err := s.Write(t.Context(), func(tx *store.Tx) error {
				if err := pause(strings.Repeat("y", i+1))(tx); err != nil {
					return err
				}
				if i%2 == 0 {
					return broken
				}
				return nil
			})
			if want := i%2 == 0; errors.Is(err, broken) != want {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if got := count(t, s); got != 50 {
		t.Errorf("%d rows, want 50", got)
	}
}

func TestWriteCancelled(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Write(ctx, pause("all")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := count(t, s); got != 0 {
		t.Errorf("%d rows were written", got)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := store.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "another upkeep") {
		t.Errorf("a second owner was let in: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir).Close()
}

func TestClosedRefuses(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), pause("all")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestNewerFormIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec("pragma user_version = 99")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := store.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, grouped := range map[string]bool{"together": true, "alone": false} {
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir())
			defer s.Close()
			one := func(tx *store.Tx) error {
				_, err := tx.Exec("insert into leases (subject, run, fence) values ('s', 1, 1) on conflict (subject) do update set fence = fence + 1")
				return err
			}
			if !grouped {
				for b.Loop() {
					if err := s.Write(b.Context(), one); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := s.Write(b.Context(), one); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// A folder may be called anything, and be named relative to where we are.
func TestOpenAnywhere(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"data", "./a b/ü?mode=ro#x%20", "deep/down"} {
		s, err := store.Open(t.Context(), dir)
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "upkeep.db")); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
