package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/postgres"
)

// peak carries out the first step of a plan in a process of its own, and returns the
// most memory, in bytes, that it ever had.
func (s *stock) peak(t *testing.T, a remediate.Action, params map[string]string) (most int) {
	t.Helper()
	plan, err := a.Plan(t.Context(), remediate.Request{Subject: s.subject(), Params: params})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Action": a.Name, "Child": s.child(t), "Step": plan.Steps[0]})
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := osexec.CommandContext(t.Context(), self, "-test.run=^$")
	cmd.Env = append(os.Environ(), "UPKEEP_ACTIONTEST_APPLY="+string(text), "GOGC=", "GOMEMLIMIT=")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
			_, after, _ := strings.Cut(string(status), "VmHWM:")
			kB := 0
			if n, _ := fmt.Sscan(after, &kB); n == 1 { // none of a process that has ended
				most = max(most, kB<<10)
			}
		} else if !errors.Is(err, os.ErrNotExist) && cmd.ProcessState == nil {
			t.Logf("memory: %v", err)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%s: %v: %s", a.Name, err, said.String())
			}
			return most
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// However large, wide or many rows are, moving them away and back takes no more than
// 64 MiB more than moving none.
func TestFilesMemory(t *testing.T) {
	t.Parallel()
	for name, bucket := range map[string]func(*testing.T) *bucketOf{"folder": func(*testing.T) *bucketOf { return nil },
		"bucket": bucketFor} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stocked(t, bucket(t))
			servertest.Exec(t, s.url,
				fmt.Sprintf(`alter table %s add column blob bytea, add column j jsonb, alter column blob set storage external`, s.qTable))
			var wide strings.Builder
			for i := range 200 {
				fmt.Fprintf(&wide, ", add column w%d text default repeat('x', 3)", i)
			}
			servertest.Exec(t, s.url, fmt.Sprintf(`alter table %s %s`, s.qTable, wide.String()[1:]))
			archive, restore := postgres.Archive(s.server), postgres.RestoreArchived(s.server)
			params := map[string]string{"since": "2000-01-01", "until": "2100-01-01"}
			idle := s.peak(t, archive, nil)
			insert := func(sql string) {
				servertest.Exec(t, s.url, fmt.Sprintf(`insert into %s (%s, "Bo""dy", blob, j) `, s.qTable, s.qAt)+sql)
			}
			const at = "now() - interval '300 days' + i * interval '1 second'"
			servertest.Exec(t, s.url, "create table piece as select decode(string_agg(md5(i::text), ''), 'hex') as "+
				"mb from generate_series(1, 65536) i")
			insert("select " + at + ", 'large', (select string_agg(mb, '') from piece, generate_series(1, 40)), " +
				"null::jsonb from generate_series(1, 1) i")
			many := 4 // a bucket takes them through buffers of its own
			if name == "bucket" {
				many = 16
			}
			insert(fmt.Sprintf("select %s, 'one MB', mb, null::jsonb from piece, generate_series(1, %d) i", at, many))
			insert(fmt.Sprintf("select %s, 'inflated', null::bytea, jsonb_build_object('a', repeat(i::text, 1000000)) "+
				"from generate_series(1, %d) i", at, many))
			insert("select " + at + ", 'small', null::bytea, null::jsonb from generate_series(1, 500) i")
			rows := s.number(t, "select count(*) from "+s.qTable)
			sum := fmt.Sprintf(`select md5(string_agg(md5(t::text), '' order by id)) from %s t`, s.qTable)
			before := s.text(t, sum)
			within := func(what string, peak int) {
				t.Logf("%s: %d MiB over %d", what, (peak-idle)>>20, idle>>20)
				if peak-idle > 64<<20 {
					t.Errorf("%s takes %d MiB more than where there is nothing to do", what, (peak-idle)>>20)
				}
			}
			within("archive", s.peak(t, archive, nil))
			if n := s.filed(t); n != rows {
				t.Errorf("%d rows were moved, want %d", n, rows)
			}
			within("restore_archived", s.peak(t, restore, params))
			if after := s.text(t, sum); after != before {
				t.Error("the rows are not as they were")
			}
		})
	}
}

// A row that no object can hold is refused in the plan; one that comes later stops the
// run, after the rows before it have gone, and stays as it is.
func TestArchiveRowTooLarge(t *testing.T) {
	t.Parallel()
	s := stocked(t, nil)
	s.put(t, 100, 10)
	a, r := postgres.Archive(s.server), remediate.Request{Subject: s.subject()}
	plan, err := a.Plan(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Exec(t, s.url,
		fmt.Sprintf(`insert into %s (%s, "Bo""dy") values (now() - interval '250 days', repeat('x', 256 << 20) || 'y')`,
			s.qTable, s.qAt))
	late, err := a.Plan(t.Context(), r)
	if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
		!strings.Contains(refusal.Detail, "too large for an object") {
		t.Errorf("%v, %v, want a refusal of the row", late.Steps, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err = a.Apply(ctx, remediate.Fence{Token: 1, Held: held}, plan.Steps[0])
	if refusal, ok := remediate.Refused(err); !ok || refusal.Reason != remediate.ReasonUnfit ||
		!strings.Contains(refusal.Detail, "too large for an object") {
		t.Errorf("%v, want a refusal of the row", err)
	}
	if n := s.number(t, "select count(*) from "+s.qTable); n != 11 || s.filed(t) != 100 {
		t.Errorf("%d rows are left, want 11; %d are in objects, want 100", n, s.filed(t))
	}
}
