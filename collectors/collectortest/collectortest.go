// Package collectortest is the promise that every collector keeps, as a test.
//
// An archive (txtar) has the statements that make the state and the samples that
// must come of it:
//
//	-- setup.sql --   statements, separated by empty lines; setup.redis has commands, one a line
//	-- varies --      metrics whose values are not compared, one a line
//	-- absent --      declared metrics that this state does not show, one a line
//	-- want --        the samples, sorted; go test -update writes them
package collectortest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	goredis "github.com/redis/go-redis/v9"
	"golang.org/x/tools/txtar"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

var update = flag.Bool("update", false, "rewrite the want sections") //nolint:gochecknoglobals // a flag of the tests

// secret must be in nothing that a collector says.
const secret = "hunter2-never-shown"

// Postgres runs a collector against a database of its own on a real server.
func Postgres(t *testing.T, c func(*target.Postgres) collectors.Collector, file string) {
	t.Helper()
	a := open(t, file)
	address, database := servertest.Database(t)
	servertest.Exec(t, address, a.statements("setup.sql", "\n\n")...)
	p := postgres(t, address)
	a.check(t, c(p), database)

	db, err := p.Database(database)
	if err != nil {
		t.Fatal(err)
	}
	var readOnly string
	if err := db.QueryRow(t.Context(), "show transaction_read_only").Scan(&readOnly); err != nil || readOnly != "on" {
		t.Errorf("the session of a collector may write: %q, %v", readOnly, err)
	}
	down(t, c(postgres(t, "postgres://upkeep@127.0.0.1:1/postgres?sslmode=disable")))
}

func postgres(t *testing.T, address string) *target.Postgres {
	t.Helper()
	p, err := target.NewPostgres(target.PostgresConfig{Name: "s", URL: address,
		Password: func() (string, error) { return secret, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Redis runs a collector against a real server of its own.
func Redis(t *testing.T, c func(*target.Redis) collectors.Collector, file string) {
	t.Helper()
	a := open(t, file)
	r := redis(t, servertest.Redis(t).URL)
	for _, line := range a.statements("setup.redis", "\n") {
		var args []any
		for word := range strings.FieldsSeq(line) {
			args = append(args, word)
		}
		if err := r.Client.Do(t.Context(), args...).Err(); err != nil && !errors.Is(err, goredis.Nil) {
			t.Fatalf("%s: %v", line, err)
		}
	}
	a.check(t, c(r), "")
	down(t, c(redis(t, "redis://127.0.0.1:1")))
}

func redis(t *testing.T, address string) *target.Redis {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	config := target.RedisConfig{Name: "s", URL: address}
	if u.Port() == "1" { // a server without a password refuses one
		config.Password = func() (string, error) { return secret, nil }
	}
	r, err := target.NewRedis(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// HostContract holds a collector of this machine to its promises. There is no
// archive: what a machine has differs.
func HostContract(t *testing.T, c func(*target.Host) collectors.Collector) {
	t.Helper()
	Promises(t, c(&target.Host{Name: "s", Root: "/"}))
}

// An archive is one state and what must come of it.
type archive struct {
	*txtar.Archive
	file string
}

func open(t *testing.T, file string) archive {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(a.Files, func(f txtar.File) bool { return f.Name == "want" }) {
		t.Fatalf("%s has no want", file)
	}
	return archive{a, file}
}

func (a archive) section(name string) *txtar.File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	return &txtar.File{Name: name}
}

func (a archive) statements(section, separator string) (all []string) {
	for s := range strings.SplitSeq(string(a.section(section).Data), separator) {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// check holds a collector that can reach its target to its promises.
func (a archive) check(t *testing.T, c collectors.Collector, database string) {
	t.Helper()
	first := a.collect(t, c, database)
	a.compare(t, c, first)
	if diff := cmp.Diff(first, a.collect(t, c, database)); diff != "" {
		t.Errorf("a second collection differs (-first +second):\n%s", diff)
	}
	Promises(t, c)
}

// Answer asks a collector once and returns what it says.
func Answer(t *testing.T, c collectors.Collector) string {
	t.Helper()
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return string(w.Text())
}

// Promises holds a collector whose target answers to the promises that need no
// known state: for those whose answer a test looks at by itself.
func Promises(t *testing.T, c collectors.Collector) {
	t.Helper()
	declared(t, c)
	lint(t, c)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	w := collectors.NewWriter(c)
	if err := c.Collect(ctx, w); err == nil {
		t.Error("Collect returned no error after its context was cancelled")
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("Collect took %s to give up", took)
	}
	if w.Samples() != 0 {
		t.Errorf("Collect wrote after its context was cancelled:\n%s", w.Text())
	}
}

func declared(t *testing.T, c collectors.Collector) {
	t.Helper()
	summary, rest, _ := strings.Cut(c.Doc, "\n")
	if !strings.HasSuffix(summary, ".") || !strings.Contains(rest, "Rights:") || !strings.Contains(rest, "Cost:") {
		t.Errorf("the Doc of %s has no summary, no rights or no cost", c.Name)
	}
	if c.Target != "s" || c.Every <= 0 || c.Timeout <= 0 || strings.Count(c.Name, "/") != 1 {
		t.Errorf("%s has no name, target, interval or timeout: %+v", c.Name, c)
	}
	for _, m := range c.Metrics {
		if len(m.Labels) == 0 || m.Labels[0] != "server" {
			t.Errorf("the first label of %s is not server", m.Name)
		}
	}
}

// collect returns the sorted samples of one collection, with the name of the
// test's database as d, without other databases, and without values that vary.
func (a archive) collect(t *testing.T, c collectors.Collector, database string) string {
	t.Helper()
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err != nil {
		t.Fatalf("collect: %v", err)
	}
	varies := a.statements("varies", "\n")
	version := regexp.MustCompile(`,version="(valkey )?\d[^"]*"`) // of whatever server the machine has
	var lines []string
	for line := range strings.Lines(string(w.Text())) {
		if mine := `database="` + database + `"`; strings.Contains(line, `database="`) {
			if !strings.Contains(line, mine) {
				continue
			}
			line = strings.Replace(line, mine, `database="d"`, 1)
		}
		line = version.ReplaceAllString(line, `,version="*"`)
		name, _, _ := strings.Cut(line, "{")
		if slices.Contains(varies, name) {
			line = line[:strings.LastIndexByte(line, ' ')] + " *\n"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func (a archive) compare(t *testing.T, c collectors.Collector, got string) {
	t.Helper()
	absent := a.statements("absent", "\n")
	for _, m := range c.Metrics {
		name := m.Name
		if m.Type == collectors.Histogram {
			name += "_count"
		}
		if written := strings.Contains("\n"+got, "\n"+name+"{"); written == slices.Contains(absent, m.Name) {
			t.Errorf("%s: written is %v, which the archive does not expect", m.Name, written)
		}
	}
	if want := a.section("want"); *update {
		want.Data = []byte(got)
		if err := os.WriteFile(a.file, txtar.Format(a.Archive), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(want.Data), got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// lint holds the names and texts to the field's rules.
func lint(t *testing.T, c collectors.Collector) {
	t.Helper()
	w := collectors.NewWriter(c)
	if err := c.Collect(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	var text []byte
	for i, m := range c.Metrics {
		text = append(m.AppendHeader(text), w.Family(i)...)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// down holds a collector whose target does not answer to its promises: it says
// so without a secret, and it reports no value but that the target is down.
func down(t *testing.T, c collectors.Collector) {
	t.Helper()
	w := collectors.NewWriter(c)
	err := c.Collect(t.Context(), w)
	text := string(w.Text())
	says := regexp.MustCompile(`^upkeep_\w+_up\{server="s"\} 0\n(upkeep_\w+_down\{server="s",reason="\w+"\} 1\n)?$`)
	switch {
	case err == nil && !says.MatchString(text):
		t.Errorf("no error from a target that is down, and: %s", text)
	case err != nil && text != "":
		t.Errorf("a target that is down reports: %s", text)
	case err != nil && strings.Contains(err.Error(), secret):
		t.Errorf("the password is in the error: %v", err)
	}
}
