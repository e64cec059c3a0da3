package store_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// behind puts a faulty proxy before the server of a store.
func behind(t *testing.T, o store.Options) (store.Options, *servertest.FaultyProxy) {
	t.Helper()
	u, err := url.Parse(o.Postgres)
	if err != nil {
		t.Fatal(err)
	}
	w := servertest.NewFaultyProxy(t, u.Host)
	u.Host = w.Address
	o.Postgres = u.String()
	return o, w
}

// A store whose server does not answer is opened late, if requested: what is asked
// of it before says that it is away, and what is asked after is done.
func TestLate(t *testing.T) {
	o, w := behind(t, shared(t))
	w.Refuse()
	if _, err := store.Open(t.Context(), o); !store.Away(err) {
		t.Errorf("Open: %v, want that it is away", err)
	}
	o.Late = true
	s := open(t, o)
	if err := s.Write(t.Context(), func(*store.Tx) error { return nil }); !store.Away(err) {
		t.Errorf("Write: %v, want that it is away", err)
	}
	if _, err := s.Query(t.Context(), "select 1"); !store.Away(err) {
		t.Errorf("Query: %v, want that it is away", err)
	}
	if err := s.Ping(t.Context()); !store.Away(err) {
		t.Errorf("Ping: %v, want that it is away", err)
	}
	w.Restore(t)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := s.Ping(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	exec(t, s, "create table tries (name text primary key, n bigint not null default 0)")
	exec(t, s, "insert into tries (name) values ('a')")
	if got := count(t, s); got != 0 {
		t.Errorf("the sum is %d", got)
	}
}

// What is wrong with a statement, or what a write itself says, is no outage.
func TestAway(t *testing.T) {
	each(t, func(t *testing.T, o store.Options) {
		s := table(t, o)
		own := errors.New("the write's own")
		for name, do := range map[string]func(*store.Tx) error{
			"the write's own": func(*store.Tx) error { return own },
			"no such table":   func(tx *store.Tx) error { _, err := tx.Exec("delete from not_there"); return err },
			"twice": func(tx *store.Tx) error {
				_, err := tx.Exec("insert into tries (name) values ('a'), ('a')")
				return err
			},
		} {
			if err := s.Write(t.Context(), do); err == nil || store.Away(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.Query(t.Context(), "select * from not_there"); err == nil || store.Away(err) {
			t.Errorf("Query: %v", err)
		}
		crash := errors.New("crash")
		s.Intercept(func(bool) error { return crash })
		s.InterceptQueries(func() error { return crash })
		if err := s.Write(t.Context(), add("a")); !store.Away(err) || !errors.Is(err, crash) {
			t.Errorf("Write: %v", err)
		}
		if _, err := s.Query(t.Context(), "select 1"); !store.Away(err) || !errors.Is(err, crash) {
			t.Errorf("Query: %v", err)
		}
		if err := s.Ping(t.Context()); !store.Away(err) {
			t.Errorf("Ping: %v", err)
		}
		s.Intercept(nil)
		s.InterceptQueries(nil)
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
	})
}

// A server that holds back its answers keeps no caller waiting for ever, and what was asked
// is done with the next connection.
func TestSilence(t *testing.T) {
	o, w := behind(t, shared(t))
	s := table(t, o)
	w.HoldAnswers()
	if err := s.Ping(t.Context()); err != nil && !store.Away(err) {
		t.Errorf("Ping: %v", err) // something was kept a moment ago
	}
	time.Sleep(2500 * time.Millisecond)
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping says nothing of a server that does not answer")
	}
	w.Restore(t)
	if err := s.Write(t.Context(), add("a")); err != nil {
		t.Error(err)
	}
}
