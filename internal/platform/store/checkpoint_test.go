package store_test

import (
	"database/sql"
	"fmt"
	"os"
	command "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/platform/store"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// inFile is how many rows the database file has without its log.
func inFile(t *testing.T, dir string) (n int) {
	t.Helper()
	alone := filepath.Join(t.TempDir(), "upkeep.db")
	// Not in this process: to close the file would give up SQLite's locks on it.
	cp := command.CommandContext(t.Context(), "cp", filepath.Join(dir, "upkeep.db"), alone)
	if out, err := cp.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	db, err := sql.Open("sqlite", alone)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // it is thrown away
	if err := db.QueryRowContext(t.Context(), "select count(*) from tries").Scan(&n); err != nil {
		return 0 // the table too is in the log
	}
	return n
}

// What a burst of writes leaves in the log is copied when the burst is over, and not by a later write. Where the
// burst itself had quiet moments, what came after the last copy may be too little to be worth one.
func TestLogIsCopiedInQuietMoments(t *testing.T) {
	o := store.Options{Dir: t.TempDir()}
	s := table(t, o)
	for burst := 1; burst <= 3; burst++ {
		for n := range 100 {
			if err := s.Write(t.Context(), add(fmt.Sprint(burst, " ", n))); err != nil {
				t.Fatal(err)
			}
		}
		servertest.Eventually(t, "the rows are in the file",
			func() bool { return inFile(t, o.Dir) > 100*burst-store.WorthQuiet })
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Writes that never pause do not make the log longer and longer, and lose nothing.
func TestLogOfConstantWrites(t *testing.T) {
	const writers, each, most = 8, 400, 48 << 20
	o := store.Options{Dir: t.TempDir()}
	s := table(t, o)
	text := strings.Repeat("x", 32<<10) // the log would be 130 MB long
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				if err := s.Write(t.Context(), add(fmt.Sprint(w, " ", n, text))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	is, err := os.Stat(filepath.Join(o.Dir, "upkeep.db-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if is.Size() > most {
		t.Errorf("the log has %d bytes, want %d at most", is.Size(), most)
	}
	if n := count(t, s); n != writers*each {
		t.Errorf("%d rows, want %d", n, writers*each)
	}
}
