package store_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

const sessions = "from pg_stat_activity where application_name = 'upkeep store' and datname = current_database()"

// end lets the server end every session of the store.
func end(t *testing.T, o store.Options) {
	t.Helper()
	servertest.Exec(t, o.Postgres, "select pg_terminate_backend(pid) "+sessions)
}

// Processes that begin at once make the store once, and lose no write of each
// other though each looks first and writes then.
func TestTwoStoresOnOneDatabase(t *testing.T) {
	o := shared(t)
	stores := make([]*store.Store, 3)
	var all sync.WaitGroup
	for i := range stores {
		all.Go(func() {
			s, err := store.Open(t.Context(), o)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = s.Close() }) // nothing is left to be written
			stores[i] = s
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	exec(t, stores[0], "create table tries (name text primary key, n bigint not null default 0)")
	exec(t, stores[1], "insert into tries (name) values ('a')")
	for _, s := range stores {
		for range 8 {
			all.Go(func() {
				for range 10 {
					if err := s.Write(t.Context(), lookAndAdd); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if got := count(t, stores[2]); got != 3*8*10 {
		t.Errorf("%d of %d writes are there", got, 3*8*10)
	}
}

func lookAndAdd(tx *store.Tx) error {
	var n int64
	if err := tx.QueryRow("select n from tries where name = ?", "a").Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec("update tries set n = ? where name = ?", n+1, "a")
	return err
}

// A role may have settings under which a write could be lost or a look be old.
func TestSettingsOfTheRole(t *testing.T) {
	o := shared(t)
	servertest.Exec(t, o.Postgres, "do $$ begin execute format('alter database %I set default_transaction_isolation "+
		"= ''repeatable read''', current_database()); end $$",
		"do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$",
		"do $$ begin execute format('alter database %I set default_transaction_read_only = on', current_database()); "+
			"end $$")
	first, second := table(t, o), open(t, o)
	exec(t, first, "insert into tries (name) values ('a')")
	var all sync.WaitGroup
	for _, s := range []*store.Store{first, second} {
		all.Go(func() {
			for range 50 {
				if err := s.Write(t.Context(), lookAndAdd); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := count(t, first); got != 100 {
		t.Errorf("%d of 100 writes are there", got)
	}
	if got := read[string](t, first, "show synchronous_commit"); got[0] != "on" {
		t.Errorf("synchronous_commit is %s", got[0])
	}
}

// A connection that was lost is made anew, for reading and for writing.
func TestConnectionsAreLostWhileIdle(t *testing.T) {
	o := shared(t)
	s := table(t, o)
	for i := range 3 {
		end(t, o)
		if err := s.Write(t.Context(), add("a")); err != nil {
			t.Errorf("the write after: %v", err)
		}
		end(t, o)
		if got := count(t, s); got != int64(i+1) {
			t.Errorf("%d writes are there, want %d", got, i+1)
		}
		end(t, o)
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("ping: %v", err)
		}
	}
}

// The write whose connection is lost in the middle fails with nothing kept, and
// the next one passes.
func TestConnectionIsLostInTheMiddle(t *testing.T) {
	o := shared(t)
	s := table(t, o)
	err := s.Write(t.Context(), func(tx *store.Tx) error {
		if err := add("a")(tx); err != nil {
			return err
		}
		end(t, o)
		return add("b")(tx)
	})
	if err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v, want an error that says nothing was kept", err)
	}
	if err := s.Write(t.Context(), add("c")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if got := strings.Join(read[string](t, s, "select name from tries order by name"), ""); got != "c" {
		t.Errorf("%q are there, want c alone", got)
	}
}

// Between the last statement and the answer to the commit the result is unknown.
func TestConnectionIsLostAtTheCommit(t *testing.T) {
	o := shared(t)
	s := table(t, o)
	s.Intercept(func(before bool) error {
		if before {
			end(t, o)
		}
		return nil
	})
	if err := s.Write(t.Context(), add("a")); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	s.Intercept(nil)
	if err := s.Write(t.Context(), add("a")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if got := count(t, s); got != 1 {
		t.Errorf("%d writes are there: what was terminated before the commit cannot be", got)
	}
}

// A process that is frozen in the middle of a write holds up the others for two
// seconds, and nothing of its write is kept when it wakes up.
func TestFrozenWriter(t *testing.T) {
	o := shared(t)
	frozen, other := table(t, o), open(t, o)
	begun, woken, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- frozen.Write(context.Background(), func(tx *store.Tx) error {
			err := add("frozen")(tx)
			close(begun)
			<-woken
			return err
		})
	}()
	<-begun
	start := time.Now()
	if err := other.Write(t.Context(), add("other")); err != nil {
		t.Errorf("the other's write: %v", err)
	}
	if took := time.Since(start); took > servertest.Patience || took < time.Second {
		t.Errorf("the other waited for %s, want about 2s", took)
	}
	close(woken)
	if err := <-ended; err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v, want an error that says nothing was kept", err)
	}
	if err := frozen.Write(t.Context(), add("woken")); err != nil {
		t.Errorf("after waking up: %v", err)
	}
	if got := strings.Join(read[string](t, other, "select name from tries order by name"), " "); got != "other woken" {
		t.Errorf("%q are there", got)
	}
}

// The password is asked for each connection, and is in no error.
func TestPassword(t *testing.T) {
	o := shared(t)
	asked := 0
	o.Password = func() (string, error) {
		asked++
		return "", nil
	}
	s := table(t, o)
	end(t, o)
	if err := s.Write(t.Context(), add("a")); err != nil {
		t.Fatal(err)
	}
	if asked < 2 {
		t.Errorf("asked %d times, want once for each connection", asked)
	}
	unreadable := errors.New("no such file")
	o.Password = func() (string, error) { return "", unreadable }
	if _, err := store.Open(t.Context(), o); !errors.Is(err, unreadable) {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{"postgres://u:hush@127.0.0.1:1/x", "postgres://u:hush@127.0.0.1:port/x",
		"postgres://u:hush@%zz/x"} {
		if _, err := store.Open(t.Context(), store.Options{Postgres: address}); err == nil ||
			strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := store.Open(t.Context(), store.Options{Postgres: "postgres://u@127.0.0.1:1/x",
		Password: func() (string, error) { return "hush", nil }}); err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

// Everything is in the schema upkeep, and a role that may not create one can use
// it where it is there.
func TestSchemaOfItsOwn(t *testing.T) {
	address, name := servertest.Database(t)
	role := name + "_role"
	servertest.Exec(t, address, "create role "+role+" login", "create schema upkeep authorization "+role)
	t.Cleanup(func() { servertest.Exec(t, address, "drop schema upkeep cascade", "drop role "+role) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	s := open(t, store.Options{Postgres: u.String()})
	if got := read[string](t, s, "select current_user::text"); got[0] != role {
		t.Errorf("we are %s, want %s", got[0], role)
	}
	if got := read[int64](t, s, "select count(*) from pg_tables where schemaname not in ('upkeep', 'pg_catalog', "+
		"'information_schema')"); got[0] != 0 {
		t.Errorf("%d tables are elsewhere", got[0])
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
