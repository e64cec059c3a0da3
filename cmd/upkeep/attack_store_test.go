package main

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/remediate"
)

// Who writes to the store without a word in the journal is found: runs that were changed, deleted or made up,
// and approvals that no one gave.
func TestAttackOnRows(t *testing.T) {
	t.Parallel()
	r := newRiver(t, `policies: [{name: p, match: ['alertname="Flood"'], action: redis/bgsave, mode: auto, limit: 1}]
`)
	r.deliver(t, 0, 3, true, func(int) string { return "Flood" })
	within(t, "every run has ended", func() error { return r.ended(3) })
	for change, want := range map[string]string{
		"": "",
		"update runs set state = 'resolved' where id = 2": "run 2: it is resolved",
		"delete from runs where id = 2":                   "run 2 has entries and is not there",
		"insert into approvals (run, plan, approver, said, until) values (3, 'p', 'user/ann', 0, 99999999999999)": "run 3: its " +
			"plan p is approved by",
	} {
		r.sql(t, "create table if not exists kept as select * from runs", change)
		out, err := asOwner(t, r.dir, "journal", "verify", "--url", "http://"+r.address)
		if (err == nil) != (want == "") || !strings.Contains(out, want) {
			t.Errorf("%s: %v %s, want %q", change, err, out, want)
		}
		r.sql(t, "delete from runs", "insert into runs select * from kept", "delete from approvals")
	}
}

// An approval that is written into the store starts nothing, and the log says so.
func TestAttackByAForgedApproval(t *testing.T) {
	t.Parallel()
	r := newRiver(t, `policies: [{name: p, match: ['alertname="Flood"'], action: redis/bgsave, mode: ask, limit: 1}]
`)
	r.deliver(t, 0, 1, true, func(int) string { return "Flood" })
	within(t, "there is a run", func() error {
		var lines []console.Line
		if err := r.get("/runs", &lines); err != nil || len(lines) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	r.sql(t, "insert into runs (key, request, action, subject, state, why, plan, due, created, changed) select 'forged', "+
		"request, action, subject, 'allowed', '', '{\"steps\":[{\"do\":\"x\"}]}', 0, created, changed from runs where id = 1",
		"insert into approvals (run, plan, approver, said, until) values (2, 'x', 'user/ann', 0, 99999999999999)")
	within(t, "the forged run is held back", func() error {
		log, err := os.ReadFile(filepath.Join(r.dir, "upkeep.log"))
		if err == nil && !strings.Contains(string(log), "run 2: it has no entry") {
			err = errors.New("no one says so")
		}
		return err
	})
	var forged console.RunDetails
	if err := r.get("/runs/2", &forged); err != nil || forged.Run.State != remediate.Allowed || forged.Run.Begun != 0 {
		t.Errorf("it was carried: %+v, %v", forged.Run, err)
	}
}

// ended returns an error until so many runs have ended.
func (r *river) ended(n int) error {
	var lines []console.Line
	if err := r.get("/runs?limit=1000", &lines); err != nil {
		return err
	}
	for _, l := range lines {
		if l.State.Ended() {
			n--
		}
	}
	if n != 0 {
		return errors.New("some have not")
	}
	return nil
}

// sql changes the store as one who can write to its file does.
func (r *river) sql(t *testing.T, queries ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, "data", "upkeep.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // each statement was committed
	for _, query := range queries {
		if query == "" {
			continue
		}
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
}
