package look

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/postgres/serverlog"
	"github.com/ai-micro-service/upkeep/collectors/redis"
	"github.com/ai-micro-service/upkeep/internal/platform/visible/visibletest"
	"github.com/ai-micro-service/upkeep/internal/product/forecast"
	"github.com/ai-micro-service/upkeep/remediate"
)

// labelsOf are those that the values of a metric have beside the server.
func labelsOf(metric string) []string {
	for _, one := range []struct {
		labels   []string
		prefixes []string
	}{
		{[]string{"database", "schema", "table", "index", "method"}, []string{pgIndexRatio, pgIndexBloat}},
		{[]string{"database", "schema", "table", "method"}, []string{pgTableRatio, pgTableBloat}},
		{[]string{"database", "schema", "table"}, []string{pgDeadRatio, pgDeadRows, pgLiveRows, pgChanged}},
		{[]string{"database", "schema", "table", "index", "covered_by", "kind"}, []string{pgDuplicate}},
		{[]string{"database", "schema", "table", "index"}, []string{pgUnused, pgInvalid}},
		{[]string{"database", "schema", "sequence", "table", "column"}, []string{pgSequence}},
		{[]string{"database", "user", "queryid"}, []string{pgCalls, pgTime}},
		{[]string{"queryid", "query"}, []string{pgText}},
		{[]string{"database", "user", "application", "of"}, []string{pgWorst}},
		{[]string{"database", "user", "application", "state"}, []string{pgBlocked}},
		{[]string{"name"}, []string{pgSetting, pgPending}},
		{[]string{"slot", "type"}, []string{"upkeep_postgres_slot_"}},
		{[]string{"standby", "address"}, []string{pgStandbyLag}},
		{[]string{"database"}, []string{pgFreeze, pgMultixact, pgChecksum, pgDatabaseSize, pgUnmonitored}},
		{[]string{"command"}, []string{redisSlowTime}},
		{[]string{"type"}, []string{dockerReclaim}},
		{[]string{"container", "state"}, []string{dockerState}},
		{[]string{"container"}, []string{"upkeep_docker_"}},
		{[]string{"device", "mountpoint", "fstype"}, []string{"upkeep_host_filesystem"}},
		{[]string{"kind"}, []string{hostUpdates}},
	} {
		if slices.ContainsFunc(one.prefixes, func(p string) bool { return strings.HasPrefix(metric, p) }) {
			return one.labels
		}
	}
	return nil
}

// valuesOf are what a label may be.
func valuesOf(label string) []string {
	switch label {
	case "method":
		return []string{"estimate", "pgstattuple_approx", "pgstatindex"}
	case "of":
		return []string{"idle", "transaction", "blocker", "horizon"}
	case "name":
		return []string{"fsync", "full_page_writes", "autovacuum", "track_counts", "track_activities",
			"autovacuum_freeze_max_age", "autovacuum_multixact_freeze_max_age", "shared_buffers"}
	case "state":
		return []string{"running", "restarting", "exited"}
	case "kind":
		return []string{"identical", "prefix", "security", "other"}
	case "type":
		return []string{"images", "volumes", "build_cache", "containers", "logical"}
	case "application":
		return []string{"web", "replication slot x", "prepared transaction y", collectors.Other}
	}
	return []string{"a", "b", collectors.Other, ""}
}

// A world makes facts at random, of what collectors may have written.
type world struct{ *rand.Rand }

func (w world) one(all ...float64) float64 { return all[w.IntN(len(all))] }

func (w world) value(metric string) float64 {
	now := float64(at.Unix())
	switch {
	case strings.HasSuffix(metric, "_ratio"):
		return w.one(0, 0.2, 0.5, 0.81, 0.96, 1, 7)
	case strings.Contains(metric, "timestamp"):
		return w.one(0, now-86400*40, now-60, now, now+60)
	case strings.HasSuffix(metric, "_bytes"):
		return w.one(0, 1, 2<<20, 200<<20, 30<<30, 1e19)
	}
	return w.one(0, 0, 1, 1, 1, 5, 400, 90_000, 2e6, 3e9)
}

// facts are those of a target of a kind.
func (w world) facts(t *testing.T, kind string) Facts {
	t.Helper()
	var text strings.Builder
	for _, metric := range Metrics() {
		if !strings.HasPrefix(metric, "upkeep_"+kind) {
			continue
		}
		seen := make(map[string]bool)
		for range w.IntN(4) {
			line := metric + `{server="main"`
			for _, label := range labelsOf(metric) {
				all := valuesOf(label)
				line += fmt.Sprintf(",%s=%q", label, all[w.IntN(len(all))])
			}
			if line += "}"; !seen[line] {
				fmt.Fprintf(&text, "%s %v\n", line, w.value(metric))
			}
			seen[line] = true
		}
	}
	f := Facts{Server: "main", Kind: kind, At: at, Figures: Figures{}}
	if text.Len() > 0 {
		f.Figures = figures(t, text.String())
	}
	w.asked(&f)
	return f
}

// asked adds what the queries of a look have read, where they have.
func (w world) asked(f *Facts) {
	for range w.IntN(3) {
		f.Forecast = append(f.Forecast, forecast.Row{Resource: forecast.Resources()[w.IntN(10)], Used: w.Float64(),
			Subject: map[string]string{"server": "main"}, Limit: new(1.0), Likely: new(w.one(0, 3600, 1e6, 1e9))})
	}
	if f.Kind == "redis" && w.IntN(2) == 0 {
		f.Redis = &redis.Usage{Limit: w.one(0, 1e9), Used: 5, Policy: []string{"", "noeviction",
			"allkeys-lru"}[w.IntN(3)]}
	}
	if f.Kind != "postgres" || w.IntN(2) == 0 {
		return
	}
	f.Postgres = Postgres{At: at, Role: []string{"upkeep", "a"}[w.IntN(2)], Standby: w.IntN(4) == 0, Version: 180000,
		Statements: []*bool{nil, new(true), new(false)}[w.IntN(3)]}
	p := &f.Postgres
	for range w.IntN(2) {
		p.Prepared = append(p.Prepared, Prepared{"x", "d", "a", at.Add(-time.Hour), w.one(0, 3, 4000)})
		p.ForeignKeys = append(p.ForeignKeys, ForeignKey{"a", "a", "a", "c", "r", w.one(1, 2e4, 2e6), ""})
		p.Scans = append(p.Scans, Scans{"a", "a", "a", 1e9, 1e6, w.one(20, 1e6), 1e9, 0, nil})
		p.Never = append(p.Never, Never{"a", "a", "a", 1e9})
		p.Constraints = append(p.Constraints, Constraint{"a", "a", "a", "c"})
		p.Triggers = append(p.Triggers, Triggers{"a", "a", "a", make([]string, 1+w.IntN(9)), w.IntN(2) == 0})
	}
	if w.IntN(2) == 0 {
		p.Log = &serverlog.Report{At: at, From: "log file x", Since: []time.Time{{}, at.Add(-time.Hour)}[w.IntN(2)]}
		for _, s := range saids() {
			p.Log.Groups = append(p.Log.Groups, serverlog.Group{Class: s.class, Count: int(w.one(1, 5, 70, 2000))})
		}
		for _, state := range []string{"", "23505", "XX000"} {
			p.Log.Groups = append(p.Log.Groups, serverlog.Group{Class: serverlog.Failed, State: state,
				Count: int(w.one(1, 200, 20_000)), First: at, Last: at},
				serverlog.Group{Class: serverlog.Temporary, Count: 3, Bytes: w.one(7, 1e9, 1e12)})
		}
	}
}

// sound tests what holds for every finding, whatever was read.
func (f Facts) sound(t *testing.T, x Finding) {
	t.Helper()
	fail := func(what string) { t.Errorf("%s: %+v", what, x) }
	if domain, _, _ := strings.Cut(x.Kind, "/"); domain != f.Kind {
		fail("it is of another kind of target")
	}
	if !slices.Contains([]string{"critical", "warning", "info"}, x.Severity) || !slices.Contains(Harms(), x.Harm) {
		fail("no severity, or no harm")
	}
	if x.Server != f.Server || x.Subject["server"] != f.Server || x.Title == "" || x.Cost == "" {
		fail("something is missing")
	}
	ways := 0
	for _, has := range []bool{x.Plan != nil, x.ByHand != "", x.Candidate != nil} {
		if has {
			ways++
		}
	}
	if ways != 1 || x.Plan != nil && (x.Plan.Subject["server"] != "main" || f.Postgres.Standby) {
		fail("not one way out of it")
	}
	if len(x.Evidence) == 0 {
		fail("no evidence")
	}
	for _, e := range x.Evidence {
		metric, _, _ := strings.Cut(e.What, "{")
		metric, _, _ = strings.Cut(metric, " of ")
		if e.What == "" || e.From == "" || e.At.IsZero() || strings.HasPrefix(metric, "upkeep_") &&
			len(f.Figures[metric]) == 0 {
			fail("evidence of what was not read: " + e.What)
		}
	}
	for _, text := range []string{x.Title, x.Cost} {
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "%!") {
			fail("no number")
		}
	}
}

func kinds() []string { return []string{"postgres", "redis", "docker", "host"} }

// Whatever part of a target was read, each finding has its evidence, and only of what was read; nothing that is summed
// up is an object with a plan.
func TestFindingsOfAnything(t *testing.T) {
	t.Parallel()
	w := world{rand.New(rand.NewPCG(14, 4))}
	seen := make(map[string]int)
	for range 700 {
		for _, kind := range kinds() {
			f := w.facts(t, kind)
			for _, x := range f.find(finders(kind)) {
				seen[x.Kind]++
				f.sound(t, x)
			}
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	if len(seen) < 64 { // of 67 that the tables have: the worlds are not all well
		t.Errorf("only %d kinds were found: %q", len(seen), slices.Sorted(maps.Keys(seen)))
	}
}

// A world of which nothing was read has no finding, nor has one whose every value is no number.
func TestNothingIsNoFinding(t *testing.T) {
	t.Parallel()
	w := world{rand.New(rand.NewPCG(14, 5))}
	for _, kind := range append(kinds(), "probe", "backup", "packages", "") {
		if found := (Facts{Server: "main", Kind: kind, At: at}).find(finders(kind)); len(found) != 0 {
			t.Errorf("%s: %v", kind, lines(found))
		}
		for range 100 {
			f := w.facts(t, kind)
			f.Postgres, f.Redis = Postgres{}, nil
			for i := range f.Forecast {
				f.Forecast[i].Likely, f.Forecast[i].Used = new(math.NaN()), math.NaN()
			}
			var text strings.Builder
			for _, all := range f.Figures {
				for _, x := range all {
					fmt.Fprintf(&text, "%s NaN\n", strings.Replace(x.Labels.DropMetricName().String(), "{",
						x.Metric+"{", 1))
				}
			}
			if f.Figures = (Figures{}); text.Len() > 0 {
				f.Figures = figures(t, text.String())
			}
			if found := f.find(finders(kind)); len(found) != 0 {
				t.Fatalf("%s: %v", kind, lines(found))
			}
		}
	}
}

// A target that does not answer has one finding, whatever was read of it before.
func TestDownIsTheOnlyFinding(t *testing.T) {
	t.Parallel()
	for _, kind := range append(kinds(), "probe") {
		if found := (Facts{Server: "main", Kind: kind, At: at, Down: "refused"}).find(finders(kind)); len(found) != 1 ||
			found[0].Severity != "critical" || found[0].Evidence[0].Value != "refused" {
			t.Errorf("%s: %v", kind, lines(found))
		}
	}
}

// Findings have one order, however they come: by severity, harm, size and time, the worst first; and of each kind of a
// server the first ten are listed and all others counted.
func TestOneOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(14, 6))
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	for range 200 {
		all := make([]Finding, r.IntN(80))
		for i := range all {
			all[i] = Finding{Severity: pick("info", "warning", "critical"), Harm: Harms()[r.IntN(5)],
				Kind: pick("a", "b"), Server: pick("s", "t"), Bytes: float64(r.IntN(3)), Seconds: float64(r.IntN(2)),
				Subject: map[string]string{"table": pick("x", "y"), "schema": pick("x", "y", "")}}
		}
		again := slices.Clone(all)
		r.Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
		rank(all)
		rank(again)
		if diff := gocmp.Diff(all, again); diff != "" {
			t.Fatalf("two orders (-one +other):\n%s", diff)
		}
		for i := 1; i < len(all); i++ {
			a, b := all[i-1], all[i]
			if worse := cmp.Or(cmp.Compare(remediate.SeverityOf(a.Severity), remediate.SeverityOf(b.Severity)),
				cmp.Compare(slices.Index(Harms(), b.Harm), slices.Index(Harms(), a.Harm)), cmp.Compare(a.Bytes,
					b.Bytes),
				cmp.Compare(a.Seconds, b.Seconds)); worse < 0 {
				t.Fatalf("%+v is before %+v", a, b)
			}
		}
		counted(t, all)
	}
}

// counted tests that a report has the first ten of each kind and server, in their order, and counts the rest.
func counted(t *testing.T, all []Finding) {
	t.Helper()
	kept, left := cut(all)
	n, bytes := make(map[string]int), make(map[string]float64)
	var want []Finding
	for _, x := range all {
		if n[x.Server+x.Kind]++; n[x.Server+x.Kind] <= 10 {
			want = append(want, x)
		} else {
			bytes[x.Server+x.Kind] += x.Bytes
		}
	}
	if diff := gocmp.Diff(want, kept); diff != "" && len(want)+len(kept) > 0 {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for _, l := range left {
		if group := l.Server + l.Kind; l.Count != n[group]-10 || l.Bytes != bytes[group] || l.Count < 1 {
			t.Errorf("%+v, of %d", l, n[group])
		}
		delete(n, l.Server+l.Kind)
	}
	for group, count := range n {
		if count > 10 {
			t.Errorf("of %d of %s none is counted", count, group)
		}
	}
}

// What a command has in it reaches the program that a shell starts as it is, whatever the names are; where it cannot be
// typed there is no command.
func TestCommandsInAShell(t *testing.T) {
	t.Parallel()
	const unit = "\x1f" // no name with it can be typed
	script := fmt.Sprintf("show() { printf '%%s%s' \"$@\"; printf '\\n'; }\n", unit)
	var want []string
	visibletest.Names(t, func(name string) {
		p := plan("postgres/vacuum", map[string]string{"server": "main", "table": name},
			map[string]string{"k": name}, "server", "table")
		if p.Subject["table"] != name || p.Params["k"] != name {
			t.Errorf("%q: the plan has another name: %+v", name, p)
		}
		if p.Command == "" {
			return
		}
		visibletest.Line(t, p.Command)
		script += "show " + p.Command + "\n"
		want = append(want, strings.Join([]string{"upkeep", "plan", "postgres/vacuum", "server=main", "table=" + name,
			"--with", "k=" + name, ""}, unit))
	})
	sh := exec.Command("/bin/sh")
	sh.Stdin = strings.NewReader(script)
	out, err := sh.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("a shell makes %q of %q", got[i], want[i])
			}
		}
		t.Errorf("%d commands, want %d", len(got), len(want))
	}
}
