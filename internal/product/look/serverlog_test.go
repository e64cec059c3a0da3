package look

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/collectors/scrape"
	"github.com/ai-micro-service/upkeep/internal/platform/prom"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
)

// logFacts are those of a server of whose log this was read.
func logFacts(groups ...serverlog.Group) Facts {
	f := Facts{Server: "main", Kind: "postgres", At: at}
	f.Postgres.Log = &serverlog.Report{At: at, Since: at.Add(-24 * time.Hour), From: "log file postgresql.log",
		Groups: groups}
	return f
}

// Each class of lines is a finding from its least number on, with how many there are and when; below it is not.
func TestServerLog(t *testing.T) {
	t.Parallel()
	group := func(class serverlog.Class, state string, n int) serverlog.Group {
		return serverlog.Group{Class: class, State: state, Count: n, First: at.Add(-time.Hour), Last: at}
	}
	for name, c := range map[string]struct {
		groups []serverlog.Group
		want   []string
	}{
		"healthy": {groups: []serverlog.Group{group(serverlog.Autovacuum, "", 2), group(serverlog.Login, "28P01", 19),
			group(serverlog.Failed, "23505", 99), group(serverlog.Conflict, "40001", 9),
			{Class: serverlog.Temporary, Count: 900, Bytes: 16<<20 - 1}}},
		"sick": {groups: []serverlog.Group{group(serverlog.Corrupt, "XX001", 1), group(serverlog.Deadlock, "40P01", 20),
			group(serverlog.NoConnections, "53300", 3), group(serverlog.Checkpoints, "", 19),
			{Class: serverlog.Temporary, Count: 2, Bytes: 16 << 20}, group(serverlog.Failed, "XX000", 1),
			group(serverlog.Failed, "23505", 100), group(serverlog.Failed, "", 10_000), group(serverlog.DiskFull, "53100", 1)},
			want: []string{
				"critical postgres/log_corrupt: it has met damaged pages, indexes or rows, says its log once",
				"critical postgres/log_disk_full: its disk was full, says its log once",
				"warning postgres/log_no_connections: it has sent clients away: too many connections, says its log 3 times",
				"warning postgres/log_deadlock: transactions ended in deadlocks, says its log 20 times",
				"info postgres/log_checkpoints: checkpoints are occurring too frequently, says its log 19 times",
				"info postgres/log_temporary: statements wrote 16 MiB to temporary files, says its log 2 times",
				"info postgres/log_failed: statements failed with SQLSTATE XX000 (internal_error), says its log once",
				"info postgres/log_failed: statements failed with SQLSTATE 23505 (unique_violation), says its log 100 times",
				"warning postgres/log_failed: statements failed without a SQLSTATE, says its log 10000 times"}},
		"a crash is one finding": {groups: []serverlog.Group{group(serverlog.Killed, "", 2),
			group(serverlog.Recovered, "", 2)}, want: []string{
			"warning postgres/log_killed: one of its processes was terminated by a signal, says its log 2 times"}},
		"and so is another": {groups: []serverlog.Group{group(serverlog.Killed, "", 1), group(serverlog.Recovered, "", 3)},
			want: []string{
				"warning postgres/log_killed: one of its processes was terminated by a signal, says its log once",
				"critical postgres/log_recovered: it was not shut down properly, says its log 3 times"}},
	} {
		f := logFacts(c.groups...)
		if diff := cmp.Diff(c.want, lines(f.find(finders("postgres")))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	e := logFacts(group(serverlog.Deadlock, "40P01", 2)).find(finders("postgres"))[0].Evidence[0]
	want := Evidence{What: "lines of class deadlock, SQLSTATE 40P01 (deadlock_detected)", Value: "2",
		From: "log file postgresql.log", At: at, Since: new(at.Add(-24 * time.Hour)),
		Note: "the first at 2026-11-30 11:00:00 UTC, the last at 2026-11-30 12:00:00 UTC"}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A database that cannot be reached is not known once, with all that would have been read there; what another error says
// stays beside it, and the right that is missing.
func TestOnce(t *testing.T) {
	t.Parallel()
	const shop, books = "database shop: failed to connect to `user=u`:\n\t[::1]:1: refused", "database books: permission denied"
	got := once([]Unknown{{Server: "main", What: "postgres/indexbloat", Why: shop + "\n" + books},
		{Server: "main", What: "postgres/sequences", Why: shop + "\nthe value of 2 sequences is hidden: grant pg_x to it"},
		{Server: "main", What: "foreign keys, scans", Why: shop}, {Server: "main", What: "foreign keys, scans", Why: shop},
		{Server: "main", What: "database closed", Why: "no right", SQL: "GRANT x;"}})
	want := []Unknown{{Server: "main", What: "postgres/indexbloat, postgres/sequences, foreign keys, scans",
		Why: "database shop: failed to connect to `user=u`: [::1]:1: refused"},
		{Server: "main", What: "postgres/indexbloat", Why: books},
		{Server: "main", What: "postgres/sequences", Why: "the value of 2 sequences is hidden: grant pg_x to it"},
		{Server: "main", What: "database closed", Why: "no right", SQL: "GRANT x;"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A target is down now where its connection is refused, and not where it is slow or says that something is wrong.
func TestLiving(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		down bool
	}{{nil, false}, {syscall.ECONNREFUSED, true}, {errors.New("NOAUTH"), false}, {context.DeadlineExceeded, false}} {
		a := living(func(context.Context) error { return c.err })(t.Context())
		if (a.down != "") != c.down {
			t.Errorf("%v: down is %q", c.err, a.down)
		}
	}
}

// slowPrometheus answers when a test ends, or at once with an error.
type slowPrometheus struct{ err error }

func (p slowPrometheus) Query(ctx context.Context, _ string, _ time.Time) ([]prom.Sample, error) {
	if p.err == nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return nil, p.err
}

// A Prometheus that has just begun and takes long is not read yet, and is not missing; one that fails is not
// known, at once; one that takes long later is not known either.
func TestPrometheusBegins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ready   bool
		err     error
		asked   time.Time
		pending bool
		unknown string
	}{
		"it has not begun":    {pending: true},
		"it has just begun":   {ready: true, pending: true},
		"it refuses":          {ready: true, err: syscall.ECONNREFUSED, unknown: "connection refused"},
		"it is slow for long": {ready: true, asked: time.Now().Add(-time.Hour), unknown: "no answer within 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := New(scrape.New(scrape.Config{Registry: prometheus.NewRegistry()}), func() (forecast.Asker, bool) { return slowPrometheus{c.err}, c.ready })
			l.asked = c.asked
			r, err := l.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var why []string
			for _, u := range r.Unknown {
				why = append(why, u.Why)
			}
			if got := strings.Join(why, "\n"); r.Complete == c.pending || (c.unknown == "") != (got == "") ||
				!strings.Contains(got, c.unknown) {
				t.Errorf("complete %t, unknown %q", r.Complete, got)
			}
		})
	}
}

// The role of PostgreSQL 14 is granted where it is there, and sequences of 13 by themselves.
func TestGrantOfSequences(t *testing.T) {
	t.Parallel()
	why := "the value of 3 sequences is hidden from this role: grant pg_read_all_data to it"
	for version, want := range map[int]string{140000: `GRANT pg_read_all_data TO "u";`, 130000: ""} {
		all := granted([]Unknown{{Why: why}}, Postgres{Role: "u", Version: version})
		if all[0].SQL != want {
			t.Errorf("%d: %q, want %q", version, all[0].SQL, want)
		}
	}
}
