package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// moment is the time of a store's own clock.
var moment = time.Date(2026, 3, 29, 2, 30, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// each runs a test on every database that a store can be.
func each(t *testing.T, test func(t *testing.T, o store.Options)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		test(t, store.Options{Memory: true,
			Now: func() time.Time { return moment }})
	})
	kept(t, test)
}

// kept runs a test on the databases that outlive their store.
func kept(t *testing.T, test func(t *testing.T, o store.Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, store.Options{Dir: t.TempDir(),
			Now: func() time.Time { return moment }})
	})
	t.Run("postgres", func(t *testing.T) { test(t, shared(t)) })
}

func shared(t testing.TB) store.Options {
	t.Helper()
	url, _ := servertest.Database(t)
	return store.Options{Postgres: url}
}

func open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed by some tests already
	return s
}

// table opens a store with a table of the test's own.
func table(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s := open(t, o)
	exec(t, s, "create table tries (name text primary key, n bigint not null default 0)")
	return s
}

func exec(t testing.TB, s *store.Store, query string, args ...any) {
	t.Helper()
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func add(name string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec("insert into tries (name, n) values (?, 1) on conflict (name) do update set n = tries.n + 1",
			name)
		return err
	}
}

// read returns the first column of what a question answers.
func read[T any](t testing.TB, s *store.Store, query string, args ...any) (all []T) {
	t.Helper()
	rows, err := s.Query(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one T
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func count(t testing.TB, s *store.Store) int64 {
	t.Helper()
	return read[int64](t, s, "select coalesce(sum(n), 0) from tries")[0]
}

func TestWriteManyAtOnce(t *testing.T) {
	kept(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				if err := s.Write(t.Context(), add(strings.Repeat("x", i+1))); err != nil {
					t.Errorf("write %d: %v", i, err)
				}
			})
		}
		all.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := count(t, open(t, o)); got != 500 {
			t.Errorf("%d rows after reopening, want 500", got)
		}
	})
}

// A write that fails is undone alone, though it shares a commit with others. It
// fails by its own word or by a statement.
func TestWriteUndoneAlone(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		broken := errors.New("broken")
		var all sync.WaitGroup
		for i := range 120 {
			all.Go(func() {
				err := s.Write(t.Context(), func(tx *store.Tx) error {
					if err := add(fmt.Sprint(i))(tx); err != nil {
						return err
					}
					switch i % 3 {
					case 0:
						return broken
					case 1:
						_, err := tx.Exec("insert into tries (name) values (?)", fmt.Sprint(i))
						return err
					}
					return nil
				})
				if (err == nil) != (i%3 == 2) || errors.Is(err, broken) != (i%3 == 0) {
					t.Errorf("write %d: %v", i, err)
				}
			})
		}
		all.Wait()
		if got := count(t, s); got != 40 {
			t.Errorf("%d rows, want 40", got)
		}
	})
}

// A write that hides the error of a statement takes no other with it.
func TestWriteThatWentOn(t *testing.T) {
	o := shared(t)
	s := table(t, o)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			err := s.Write(t.Context(), func(tx *store.Tx) error {
				if i%2 == 0 {
					_, _ = tx.Exec("select no_such_function()")
					return nil
				}
				return add("kept")(tx)
			})
			if (err == nil) != (i%2 == 1) {
				t.Errorf("write %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if got := count(t, s); got != 10 {
		t.Errorf("%d writes were kept, want 10", got)
	}
}

func TestWriteCancelled(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Write(ctx, add("a")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if _, err := s.Query(ctx, "select 1"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if got := count(t, s); got != 0 {
			t.Errorf("%d were written", got)
		}
	})
}

// hold begins a write that lasts until release is called.
func hold(t *testing.T, s *store.Store) (release func()) {
	t.Helper()
	begun, end, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- s.Write(context.Background(), func(*store.Tx) error {
			close(begun)
			<-end
			return nil
		})
	}()
	<-begun
	return sync.OnceFunc(func() {
		close(end)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A caller that waits for the commit before may give up; nothing of it is written.
func TestWriteGivesUp(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		release := hold(t, s)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := s.Write(ctx, add("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
		release()
		if got := count(t, s); got != 0 {
			t.Errorf("%d were written", got)
		}
	})
}

func TestFullRefuses(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		release := hold(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		refused := make(chan error, 5000)
		for range 5000 {
			all.Go(func() {
				if err := s.Write(ctx, add("a")); err != nil {
					refused <- err
				}
			})
		}
		if err := <-refused; !errors.Is(err, store.ErrFull) {
			t.Errorf("got %v, want ErrFull", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, store.ErrFull) {
			t.Errorf("Ping: got %v, want ErrFull", err)
		}
		release()
		all.Wait()
		if got, want := count(t, s), int64(5000-1-len(refused)); got != want {
			t.Errorf("%d were written, want %d", got, want)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestClosedRefuses(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Write(t.Context(), add("a")); !errors.Is(err, store.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// A ? in a literal, a name or a comment is no parameter.
func TestParameters(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		exec(t, s, `insert into tries (name, n) -- what?
			values ('it''s ?' || /* ? */ cast(? as text), ?)`, "!", int64(7))
		got := read[string](t, s,
			`select name as "?" from tries where n = ? and name <> '?' and name <> cast(? as text)`, 7, "'?")
		if diff := cmp.Diff([]string{"it's ?!"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// What a target says may be anything: both databases take it, as the same text.
func TestValues(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		exec(t, s, "create table held (id bigint primary key, word text, yes bigint, share double precision)")
		exec(t, s, "insert into held values (?, ?, ?, ?)", 1, "broken \xff and \x00 nul", true, (*float64)(nil))
		exec(t, s, "insert into held values (?, ?, ?, ?)", int64(2), []byte(`{"json": "täble"}`), false, new(float64))
		if diff := cmp.Diff([]string{"broken \uFFFD and \uFFFD nul", `{"json": "täble"}`},
			read[string](t, s, "select word from held order by id")); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]int64{1}, read[int64](t, s,
			"select id from held where word = ? and yes = ? and share is null", "broken \xff and \x00 nul",
			true)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]bool{true, false}, read[bool](t, s, "select yes from held order by id")); diff != "" {
			t.Error(diff)
		}
	})
}

// Text sorts by its bytes and numbers come back, whatever the database is.
func TestSchemaIsTheSame(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		for _, scope := range []string{"target/ä", "target/b", "target/B", "target/a-b", "target/ab", "all"} {
			exec(t, s, "insert into pauses (scope, reason, by, since) values (?, 'r', 'b', 1)", scope)
		}
		want := []string{"all", "target/B", "target/a-b", "target/ab", "target/b", "target/ä"}
		if diff := cmp.Diff(want, read[string](t, s, "select scope from pauses order by scope")); diff != "" {
			t.Error(diff)
		}
		var first, second int64
		err := s.Write(t.Context(), func(tx *store.Tx) error {
			insert := "insert into incidents (key, alert, opened, seen) values (?, '{}', 1, 1) returning id"
			return errors.Join(tx.QueryRow(insert, "a").Scan(&first), tx.QueryRow(insert, "b").Scan(&second))
		})
		if err != nil || first != 1 || second != 2 {
			t.Errorf("numbers %d and %d, want 1 and 2 (%v)", first, second, err)
		}
	})
}

func TestReadsSeeCommits(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		for i := range 50 {
			if err := s.Write(t.Context(), add("a")); err != nil {
				t.Fatal(err)
			}
			if got := count(t, s); got != int64(i+1) {
				t.Fatalf("%d after %d writes", got, i+1)
			}
		}
	})
}

func TestNow(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		outside, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var inside, later time.Time
		err = s.Write(t.Context(), func(tx *store.Tx) (err error) {
			if inside, err = tx.Now(); err != nil {
				return err
			}
			later, err = tx.Now()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Shared() {
			if !outside.Equal(moment) || !inside.Equal(moment) {
				t.Errorf("%s and %s, want the clock that was given", outside, inside)
			}
			return
		}
		if !slices.IsSortedFunc([]time.Time{outside, inside, later}, time.Time.Compare) || !later.After(inside) ||
			time.Since(outside).Abs() > time.Minute {
			t.Errorf("%s, %s and %s are not the server's time", outside, inside, later)
		}
		if inside.Location() != time.UTC {
			t.Errorf("the time is in %s", inside.Location())
		}
	})
}

func TestNewerFormIsRefused(t *testing.T) {
	kept(t, func(t *testing.T, o store.Options) {
		s := open(t, o)
		newer := "pragma user_version = 99"
		if s.Shared() {
			newer = "update store_version set version = 99"
		}
		exec(t, s, newer)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), o); err == nil ||
			!strings.Contains(err.Error(), "newer version of upkeep (schema 99") {
			t.Errorf("got %v", err)
		}
	})
}

// A crash before the commit keeps nothing, one after it keeps everything.
func TestIntercept(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		crash := errors.New("crash")
		var called []bool
		at := func(crashing bool) func(bool) error {
			return func(before bool) error {
				called = append(called, before)
				if before == crashing {
					return crash
				}
				return nil
			}
		}
		for _, test := range []struct {
			before bool
			kept   int64
			called []bool
		}{{true, 0, []bool{true}}, {false, 1, []bool{true, false}}} {
			called = nil
			s.Intercept(at(test.before))
			if err := s.Write(t.Context(), add("a")); !errors.Is(err, crash) || errors.Is(err, store.ErrUnknown) {
				t.Errorf("before %t: got %v", test.before, err)
			}
			if diff := cmp.Diff(test.called, called); diff != "" {
				t.Error(diff)
			}
			if got := count(t, s); got != test.kept {
				t.Errorf("before %t: %d were kept, want %d", test.before, got, test.kept)
			}
		}
		s.Intercept(nil)
		if err := s.Write(t.Context(), add("a")); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, where := range []string{"memory", "sqlite", "postgres"} {
		for _, together := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/together=%t", where, together), func(b *testing.B) {
				o := store.Options{Memory: true}
				switch where {
				case "sqlite":
					o = store.Options{Dir: b.TempDir()}
				case "postgres":
					o = shared(b)
				}
				s := table(b, o)
				var n atomic.Int64
				one := func() {
					if err := s.Write(b.Context(), add(strconv.FormatInt(n.Add(1)%1000, 10))); err != nil {
						b.Error(err)
					}
				}
				if !together {
					for b.Loop() {
						one()
					}
					return
				}
				b.ResetTimer()
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			})
		}
	}
}
