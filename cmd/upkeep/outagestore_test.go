package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// A keeping is where upkeeps keep what they know, and how it is taken from them.
type keeping interface {
	// kinds are the outages that it has.
	kinds() []string
	// outage begins one and returns what ends it.
	outage(t *testing.T, kind string) (end func())
	// options open the store when no upkeep has it.
	options() (o store.Options, config string)
}

// A full is a SQLite file on a file system of its own, which something else fills.
type full struct{ dir string }

func newFull(t *testing.T, dir string) full {
	t.Helper()
	f := full{filepath.Join(dir, "data")}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.dir, "tmpfs", 0, "mode=0700,size=48m"); err != nil {
		t.Fatalf("a file system of its own is needed, which root can mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(f.dir, syscall.MNT_DETACH) }) // only the test's data is on it
	return f
}

func (full) kinds() []string { return []string{"full disk"} }

func (f full) outage(t *testing.T, _ string) func() {
	t.Helper()
	return f.fill(t)
}

// fill leaves no room on the file system, and returns what gives it back.
func (f full) fill(t *testing.T) (empty func()) {
	t.Helper()
	path := filepath.Join(f.dir, "filler")
	filler, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for chunk := make([]byte, size); err == nil; {
			_, err = filler.Write(chunk)
		}
		if !strings.Contains(err.Error(), "no space left") {
			t.Fatal(err)
		}
		err = nil
	}
	_ = filler.Close() // it is full, and says so
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func (f full) options() (store.Options, string) { return store.Options{Dir: f.dir}, "" }

// An away is a PostgreSQL server of its own, with a faulty proxy before it.
type away struct {
	how    sandbox.PostgresOptions
	server *sandbox.Postgres
	proxy  *servertest.FaultyProxy
	rng    *rand.Rand
}

func newAway(t *testing.T, rng *rand.Rand) *away {
	t.Helper()
	a := &away{rng: rng}
	a.server, a.how = startServer(t, map[string]string{"fsync": "off", "max_connections": "50"},
		func() *sandbox.Postgres { return a.server })
	a.proxy = servertest.NewFaultyProxy(t, fmt.Sprintf("127.0.0.1:%d", a.server.Port))
	return a
}

// startServer starts a PostgreSQL server that is started again at the same address. The
// one that runs at the end of the test is stopped.
func startServer(t *testing.T, settings map[string]string, last func() *sandbox.Postgres) (*sandbox.Postgres,
	sandbox.PostgresOptions) {
	t.Helper()
	dir, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // data of a test
	how := sandbox.PostgresOptions{Dir: filepath.Join(dir, "postgres"), Settings: settings}
	server, err := servertest.StartPostgres(t.Context(), how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		servertest.Signal(servertest.Family(t, last().PID()), syscall.SIGCONT)
		_ = last().Stop() // it may have ended where the test failed
	})
	how.Port = server.Port
	return server, how
}

func (a *away) kinds() []string {
	return []string{"stopped", "immediate", "frozen", "refused", "silent", "slow"}
}

func (a *away) outage(t *testing.T, kind string) (end func()) {
	t.Helper()
	switch kind {
	case "stopped", "immediate":
		stop := a.server.Stop
		if kind == "immediate" {
			stop = a.server.Abort
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		return func() {
			var err error
			if a.server, err = servertest.StartPostgres(t.Context(), a.how); err != nil {
				t.Fatal(err)
			}
		}
	case "frozen":
		return servertest.Freeze(t, a.server.PID())
	case "refused":
		a.proxy.Refuse()
	case "silent":
		a.proxy.HoldAnswers()
	case "slow":
		a.proxy.Slow(time.Duration(a.rng.Int64N(int64(2 * time.Second))))
	}
	return func() { a.proxy.Restore(t) }
}

func (a *away) options() (store.Options, string) {
	through := fmt.Sprintf("postgres://upkeep@%s/postgres?sslmode=disable", a.proxy.Address)
	return store.Options{Postgres: a.server.URL}, fmt.Sprintf("store: {url: %q}\n", through)
}
