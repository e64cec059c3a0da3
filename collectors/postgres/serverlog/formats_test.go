package serverlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// counted is what a log says, in short.
func counted(t *tally) (short []string) {
	for _, g := range t.all() {
		line := fmt.Sprintf("%s %s %d", g.Class, g.State, g.Count)
		if g.Bytes > 0 {
			line += fmt.Sprintf(" %.0f bytes", g.Bytes)
		}
		if !g.First.IsZero() {
			line += g.First.Format(" 15:04:05") + g.Last.Format(" 15:04:05")
		}
		short = append(short, line)
	}
	return short
}

// since is what the logs of these tests are read from.
func since() time.Time { return time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC) }

// stderrLog has what is counted, and what is not: lines that continue others, old ones, and texts of clients.
const stderrLog = `2026-11-29 11:59:59.999 UTC [1] web@shop ERROR:  deadlock detected
2026-11-30 10:00:00.000 UTC [1] LOG:  database system was not properly shut down; automatic recovery in progress
2026-11-30 10:00:01.000 UTC [7] web@shop ERROR:  deadlock detected
2026-11-30 10:00:01.000 UTC [7] web@shop DETAIL:  Process 1 waits for ShareLock on transaction 2; blocked by process 3.
	Process 3: select 'PANIC:  invalid page in block 1 of relation base/1/2'
2026-11-30 10:00:01.000 UTC [7] web@shop STATEMENT:  select $1
	2026-11-30 10:00:01.000 UTC [7] web@shop PANIC:  could not fsync file "x"
2026-11-30 10:00:02.000 UTC [8] web@shop FATAL:  sorry, too many clients already
2026-11-30 10:00:03.000 UTC [8] web@shop LOG:  temporary file: path "base/pgsql_tmp/pgsql_tmp8.0", size 1000000
2026-11-30 10:00:04.000 UTC [8] web@shop LOG:  temporary file: path "base/pgsql_tmp/pgsql_tmp8.1", size 500
2026-11-30 10:00:05.000 UTC [9] ERROR:  canceling autovacuum task
2026-11-30 10:00:06.000 UTC [1] LOG:  server process (PID 8) was terminated by signal 9: Killed
2026-11-30 10:00:07.000 UTC [2] LOG:  checkpoints are occurring too frequently (9 seconds apart)
2026-11-30 10:00:08.000 UTC [8] web@shop WARNING:  page verification failed, calculated checksum 1 but expected 2
2026-11-30 10:00:08.000 UTC [8] web@shop ERROR:  invalid page in block 0 of relation base/5/6
2026-11-30 10:00:09.000 UTC [9] WARNING:  oldest xmin is far in the past
2026-11-30 10:00:10.000 UTC [8] web@shop ERROR:  duplicate key value violates unique constraint "secret"
2026-11-30 10:00:11.000 UTC [8] web@shop ERROR:  duplicate key value violates unique constraint "secret"
2026-11-30 10:00:12.000 UTC [8] web@shop ERROR:  what an application raises
2026-11-30 10:00:13.000 UTC [8] web@shop ERROR:  canceling statement due to user request
2026-11-30 10:00:14.000 UTC [8] web@shop FATAL:  the database system is starting up
2026-11-30 10:00:15.000 UTC [8] web@shop LOG:  duration: 3000.000 ms  statement: select 'ERROR:  deadlock detected'
2026-11-30 10:00:16.000 UTC [8] web@shop FATAL:  terminating connection due to administrator command
2026-11-30 10:00:17.000 UTC [8] web@shop ERROR:  could not extend file "base/1/2": No space left on device
2026-11-30 10:00:18.000 UTC [8] web@shop PANIC:  stuck spinlock detected
2026-11-30 10:00:19.000 UTC [8] web@shop ERROR:  deadlock det`

func wantStderr() []string {
	return []string{"autovacuum  1 10:00:05 10:00:05", "checkpoints  1 10:00:07 10:00:07", "corrupt  1 10:00:08 10:00:08",
		"corrupt XX001 1 10:00:08 10:00:08", "deadlock 40P01 1 10:00:01 10:00:01", "disk_full 53100 1 10:00:17 10:00:17",
		"failed 23505 2 10:00:10 10:00:11", "failed  1 10:00:12 10:00:12", "killed  1 10:00:06 10:00:06",
		"no_connections 53300 1 10:00:02 10:00:02", "old_horizon  1 10:00:09 10:00:09", "panic  1 10:00:18 10:00:18",
		"recovered  1 10:00:00 10:00:00", "temporary  2 1000500 bytes 10:00:03 10:00:04"}
}

func readAll(t *testing.T, l layout, name, text string, whole bool) *tally {
	t.Helper()
	count := newTally(since())
	s := server{layout: l, logged: name}
	if err := s.read(t.Context(), strings.NewReader(text), whole, count); err != nil {
		t.Fatal(err)
	}
	return count
}

// Lines of stderr are understood whatever log_line_prefix is: by it, or by what every line has.
func TestStderr(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"%m [%p] %q%u@%d ", "%t:%r:%u@%d:[%p]: ", ""} {
		got := readAll(t, layoutOf(prefix, "UTC"), "postgresql.log", stderrLog, true)
		if diff := cmp.Diff(wantStderr(), counted(got)); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", prefix, diff)
		}
		if want := since().Add(-time.Millisecond); !got.first.Equal(want) {
			t.Errorf("begins at %s, want %s", got.first, want)
		}
	}
	for prefix, line := range map[string]string{
		"%m %e %p: ":           "2026-11-30 10:00:00.000 UTC 40P01 12345: FEHLER:  Verklemmung\n",
		"%s %m %5p %e ":        "2026-11-30 09:00:00 UTC 2026-11-30 10:00:00.000 UTC   123 40P01 ERROR:  x y\n",
		"%n <%-8u> %e ":        "1796032800.000 <web     > 40P01 ERROR:  x\n",
		"%m [%p] %q%u@%d %e %": "2026-11-30 10:00:00.000 UTC [12345] a b@c 40P01 ERROR:  x\n",
		"%m %Z%e ":             "2026-11-30 10:00:00.000 UTC 40P01 ERROR:  x\n",
	} {
		want := []string{"deadlock 40P01 1 10:00:00 10:00:00"}
		if strings.Contains(line, "FEHLER") {
			want = nil // a severity in another language
		}
		if diff := cmp.Diff(want, counted(readAll(t, layoutOf(prefix, "UTC"), "", line, true))); diff != "" {
			t.Errorf("prefix %q (-want +got):\n%s", prefix, diff)
		}
	}
}

// A time is one of log_timezone, also in the hour that clocks have twice. Lines of an unknown zone have no time.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, text, want string }{
		{"Europe/Berlin", "2026-11-30 11:00:00.5 CET", "2026-11-30T10:00:00.5Z"},
		{"Europe/Berlin", "2026-10-25 02:30:00 CEST", "2026-10-25T00:30:00Z"},
		{"Europe/Berlin", "2026-10-25 02:30:00 CET", "2026-10-25T01:30:00Z"},
		{"Etc/UTC", "2026-11-30 10:00:00 UTC", "2026-11-30T10:00:00Z"},
		{"No/Where", "2026-11-30 10:00:00 UTC", "0001-01-01T00:00:00Z"},
		{"UTC", "2026-13-30 10:00:00 UTC", "0001-01-01T00:00:00Z"},
	} {
		if got := layoutOf("", c.zone).time(c.text).Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s in %s: %s, want %s", c.text, c.zone, got, c.want)
		}
	}
}

// The driver json-file has lines as strings, cuts long ones, and knows when a line was written.
func TestContainerLog(t *testing.T) {
	t.Parallel()
	text := `{"log":"2026-11-30 10:00:01.000 UTC [7] ERROR:  deadlock detected\n","stream":"stderr","time":"2026-11-30T10:00:02Z"}
{"log":"2026-11-30 10:00:01.000 UTC [7] STATEMENT:  select ","stream":"stderr","time":"2026-11-30T10:00:02Z"}
{"log":"2026-11-30 10:00:01.000 UTC [7] PANIC:  forged\n","stream":"stderr","time":"2026-11-30T10:00:02Z"}
{"log":"FATAL:  sorry, too many clients already\n","stream":"stderr","time":"2026-11-30T10:00:03Z"}
not of the driver
`
	want := []string{"deadlock 40P01 1 10:00:01 10:00:01", "no_connections 53300 1 10:00:03 10:00:03"}
	if diff := cmp.Diff(want, counted(readAll(t, layoutOf("%m [%p] ", "UTC"), "x-json.log", text, true))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// record is one of csvlog, with a text of a client in its place.
func record(severity, state, message, query string) string {
	quoted := func(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
	return fmt.Sprintf(`2026-11-30 10:00:01.000 UTC,"web","shop",7,"[local]",65a.7,3,"SELECT",2026-11-30 09:00:00 UTC,3/4,0,`+
		`%s,%s,%s,,,,,,%s,,,"psql","client backend",,0`, severity, state, quoted(message), quoted(query)) + "\n"
}

// Of csvlog each record is read, whatever lines a text has; and wherever what is read begins, no text is a record.
func TestCSV(t *testing.T) {
	t.Parallel()
	forged := record("PANIC", "XX001", "invalid page in block 1", "x")
	text := record("FEHLER", "40P01", "Verklemmung \"entdeckt\"", "select 1;\n"+forged+"','") +
		record("LOG", "00000", `temporary file: path "x", size 7`, forged+forged+",") +
		record("ERROR", "23505", "x", "")
	l := layoutOf("", "UTC")
	whole := []string{"deadlock 40P01 1 10:00:01 10:00:01", "failed 23505 1 10:00:01 10:00:01",
		"temporary  1 7 bytes 10:00:01 10:00:01"}
	if diff := cmp.Diff(whole, counted(readAll(t, l, "a.csv", text+record("ERROR", "40P01", "x", "")[:90], true))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for from := range len(text) {
		got := counted(readAll(t, l, "a.csv", text[from:], from == 0))
		for _, line := range got {
			if strings.HasPrefix(line, "corrupt") {
				t.Fatalf("from byte %d on a text is a record: %q", from, got)
			}
		}
		if from < len(text)-len(record("ERROR", "23505", "x", ""))-1 && !strings.Contains(strings.Join(got, "\n"),
			"failed 23505") {
			t.Fatalf("from byte %d on the last record is not read: %q", from, got)
		}
	}
}

// Of jsonlog each line is one object, and a part of one is not read.
func TestJSON(t *testing.T) {
	t.Parallel()
	line := `{"timestamp":"2026-11-30 10:00:01.000 UTC","user":"web","error_severity":"ERREUR","state_code":"53300",` +
		`"message":"x\n{\"error_severity\":\"PANIC\"}","statement":"secret"}` + "\n"
	got := counted(readAll(t, layoutOf("", "UTC"), "a.json", line[9:]+line+line+line[:40], false))
	if diff := cmp.Diff([]string{"no_connections 53300 2 10:00:01 10:00:01"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is cut, or anything else, is read without end: lines of any length, and reading ends with its context.
func TestAnything(t *testing.T) {
	t.Parallel()
	long := "2026-11-30 10:00:01.000 UTC ERROR:  deadlock detected " + strings.Repeat("x\x00\xff,\"", 100_000) + "\n"
	for _, name := range []string{"a.log", "a.csv", "a.json"} {
		for _, text := range []string{"", "\n\n\n", long + stderrLog, "\"\"\"", strings.Repeat("\"", 70_000), `{"log":1}`} {
			_ = readAll(t, layoutOf("%m ", "UTC"), name, text, true)
			_ = readAll(t, layoutOf("%m ", "UTC"), name, text, false)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := server{layout: layoutOf("", "UTC"), logged: "a.log"}
	if err := s.read(ctx, strings.NewReader(stderrLog), true, newTally(since())); err == nil {
		t.Error("read after its end")
	}
}

// Of the files of a folder those are read that log_filename names, in the format that is read.
func TestFamily(t *testing.T) {
	t.Parallel()
	now := since().Add(24 * time.Hour)
	s := server{Now: now, pattern: "postgresql-%Y-%m-%d_%H%M%S.log", Destination: "stderr, csvlog"}
	files := []listed{{"postgresql-2026-11-30_100000.csv", 1, now}, {"other.csv", 1, now},
		{"postgresql-2026-11-30_000000.csv", 1, now}, {"postgresql-2026-11-30_000000.log", 1, now},
		{"postgresql-2026-11-28_000000.csv", 1, now.Add(-30 * time.Hour)}}
	for destination, want := range map[string][]string{
		"stderr, csvlog": {"postgresql-2026-11-30_100000.csv", "postgresql-2026-11-30_000000.csv"},
		"stderr":         {"postgresql-2026-11-30_000000.log"}, "syslog": nil, "jsonlog": nil} {
		s.Destination = destination
		var names []string
		for _, f := range s.family(files) {
			names = append(names, f.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s (-want +got):\n%s", destination, diff)
		}
	}
	if s.Destination = "csvlog"; len(s.family(files[4:])) != 1 {
		t.Error("a log of which nothing was written for long is one")
	}
}

// Where the right to a file is missing, the error says what to do; another error is what it is.
func TestDenied(t *testing.T) {
	t.Parallel()
	_, known := errors.AsType[*NotKnown](denied("log file x", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}))
	_, other := errors.AsType[*NotKnown](denied("log file x", fs.ErrNotExist))
	if !known || other {
		t.Errorf("not permitted %t, not there %t", known, other)
	}
}

// A log in a language that is not understood is not taken for one of a healthy server.
func TestUnderstood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		language, least, name string
		lines                 int
		why, note             string
	}{
		{"C", "warning", "a.log", 1, "", ""},
		{"en_US.UTF-8", "warning", "a.log", 1, "", ""},
		{"de_DE.UTF-8", "warning", "a.log", 1, "lc_messages = de_DE.UTF-8", ""},
		{"de_DE.UTF-8", "warning", "a.csv", 1, "", "lc_messages is de_DE.UTF-8"},
		{"C", "fatal", "a.log", 1, "", "log_min_messages is fatal"},
		{"C", "warning", "a.log", 0, "no line of it is one of PostgreSQL", ""},
	} {
		r := Report{Bytes: 10, Since: since()}
		err := r.understood(server{Language: c.language, Least: c.least, logged: c.name}, &tally{lines: c.lines})
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) ||
			(r.Note == "") != (c.note == "") || !strings.Contains(r.Note, c.note) {
			t.Errorf("%+v: %v, %q", c, err, r.Note)
		}
	}
}
