package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A traceback is one error, whichever runtime wrote it. One that a service logs with a line
// that has a level belongs to that line: it makes no second error, and none of a warning.
func TestTraces(t *testing.T) {
	all := examples(t, "traces.txtar")
	if len(all) < 19 {
		t.Fatalf("%d examples", len(all))
	}
	for _, e := range all {
		for _, d := range e.differs(e.read(t)) {
			t.Errorf("%s: %s", e.name, d)
		}
	}
}

// templates returns the errors that were read, with how often.
func templates(t *testing.T, text []byte, last bool) map[string]uint64 {
	t.Helper()
	c := counter{reader: reader{fields: names()}, tally: newTally(1000)}
	if _, err := c.Take(t.Context(), bytes.NewReader(text), last); err != nil {
		t.Fatal(err)
	}
	if last {
		c.finish()
	}
	all := make(map[string]uint64)
	for _, e := range c.tally.templates.Sorted() {
		all[e.Name] = e.Count
	}
	return all
}

// Two streams of a service write at once: each has its own traceback.
func TestTracesOfBothStreams(t *testing.T) {
	streams := map[string][]string{
		"stdout": {"Traceback (most recent call last):", `  File "/app/a.py", line 1, in <module>`, "    load()",
			"ValueError: x", "done"},
		"stderr": {"panic: cannot load", "", "goroutine 1 [running]:", "main.main()", "\t/app/main.go:9 +0x25"},
	}
	var text bytes.Buffer
	for i := range streams["stdout"] {
		for _, stream := range []string{"stdout", "stderr"} {
			line, err := json.Marshal(streams[stream][i] + "\n")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, `{"log":%s,"stream":"%s","time":"2026-11-30T10:00:00Z"}`+"\n", line, stream)
		}
	}
	want := map[string]uint64{"ValueError at app/a.py:1": 1, "panic: cannot load at app/main.go:9": 1}
	if diff := cmp.Diff(want, templates(t, text.Bytes(), true)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A traceback at the end counts when nothing follows, and once.
func TestTraceAtTheEnd(t *testing.T) {
	text := driver([]string{"panic: cannot load", "", "goroutine 1 [running]:", "main.main()", "\t/app/main.go:9 +0x25"})
	c := counter{reader: reader{fields: names()}, tally: newTally(1000)}
	for i, want := range []uint64{0, 1, 1} {
		if i > 0 {
			c.finish()
		}
		if _, err := c.Take(t.Context(), bytes.NewReader(text), false); err != nil || c.tally.errors != want {
			t.Errorf("look %d: %d errors, want %d; %v", i+1, c.tally.errors, want, err)
		}
		text = nil
	}
}

// The level of a line counts however long the line is, before and behind its message.
func TestLevelOfALongLine(t *testing.T) {
	long := strings.Repeat("0123456789 é ", 10<<20/14)
	for name, tc := range map[string]struct {
		line string
		want uint64
	}{
		"level before":  {`{"level":"error","message":"` + long + `"}`, 1},
		"level behind":  {`{"message":"` + long + `","level":"error"}`, 1},
		"no error":      {`{"message":"` + long + `","level":"info"}`, 0},
		"plain":         {"ERROR: " + long, 1},
		"plain, behind": {"INFO: " + long + " ERROR: x", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			for rest := tc.line + "\n"; len(rest) > 0; { // as the driver splits
				n := min(len(rest), piece)
				for n < len(rest) && n > 0 && rest[n]&0xC0 == 0x80 {
					n-- // the driver would write half a letter as U+FFFD, which says nothing here
				}
				part, err := json.Marshal(rest[:n])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				if len(rest) > 0 && n < piece {
					part = append(part[:len(part)-1], '.', '"') // the driver's pieces are of one length
				}
				fmt.Fprintf(&text, `{"log":%s,"stream":"stdout","time":"2026-11-30T10:00:00Z"}`+"\n", part)
			}
			text.Write(driver([]string{"ERROR: behind it"}))
			got := templates(t, text.Bytes(), true)
			var errors uint64
			for _, n := range got {
				errors += n
			}
			if errors != tc.want+1 || got["ERROR: behind it"] != 1 {
				t.Errorf("%d errors, want %d", errors, tc.want+1)
			}
		})
	}
}

// The last line of a stream has no line feed: it is one of its own, and the next begins anew.
func TestLastLineWithoutLineFeed(t *testing.T) {
	text := `{"log":"ERROR: killed","stream":"stderr","time":"2026-11-30T10:00:00Z"}` + "\n" +
		`{"log":"{\"level\":\"error\",\"message\":\"after a start\"}\n","stream":"stderr","time":"2026-11-30T10:00:01Z"}` + "\n" +
		`{"log":"{\"level\":\"error\",\"message\":\"killed too\"}","stream":"stderr","time":"2026-11-30T10:00:02Z"}` + "\n"
	want := map[string]uint64{"ERROR: killed": 1, "after a start": 1, "killed too": 1}
	if diff := cmp.Diff(want, templates(t, []byte(text), true)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Lines that come with an error of their own: each case is one error, or none.
func TestTraceKinds(t *testing.T) {
	const frame = "    at load (file:///srv/app/x.mjs:2:9)"
	for name, tc := range map[string]struct {
		lines []string
		want  map[string]uint64
	}{
		"script, behind its line": {[]string{"error: TypeError: no", "    at file:///srv/app/x.mjs:1:2", frame, "ok"},
			map[string]uint64{"error: TypeError: no": 1}},
		"script, moved to the right": {[]string{"  Error: no", frame, "ok"}, map[string]uint64{"Error at app/x.mjs:2": 1}},
		"console.trace":              {[]string{"Trace: who calls", frame, "ok"}, map[string]uint64{}},
		"Deno": {[]string{"error: Uncaught (in promise) TypeError: no", "  throw x;", "        ^", frame},
			map[string]uint64{"TypeError at app/x.mjs:2": 1}},
		"asyncio": {[]string{"ERROR:asyncio:Exception in callback", "handle: <Handle load()>",
			"Traceback (most recent call last):", `  File "/srv/app/x.py", line 4, in load`, "ValueError: 1", "ok"},
			map[string]uint64{"ERROR:asyncio:Exception in callback": 1}},
		"two errors": {[]string{"ERROR: one", "started", "Traceback (most recent call last):",
			`  File "/srv/app/x.py", line 4, in load`, "ValueError: 1", "ok"},
			map[string]uint64{"ERROR: one": 1, "ValueError at app/x.py:4": 1}},
		"of another process": {[]string{"ERROR: task", "Traceback (most recent call last):", `  File "/a/x.py", line 4`,
			"einfo.ExceptionWithTraceback: ", `"""`, "Traceback (most recent call last):", `  File "/a/x.py", line 5`,
			"ValueError: 1", `"""`, "ok"}, map[string]uint64{"ERROR: task": 1}},
		"indented": {[]string{"unhandled", "\tTraceback (most recent call last):", "\t  File \"/srv/app/x.py\", line 9, in load",
			"\t--- <exception caught here> ---", "\tbuiltins.ValueError: no", "ERROR: next"},
			map[string]uint64{"ValueError at app/x.py:9": 1, "ERROR: next": 1}},
		"message of several lines": {[]string{`Exception in thread "main" java.lang.RuntimeException: 2 problems:`, "ERROR one",
			"  FATAL two", "\tat Paym.load(Paym.java:2)", "ERROR next"},
			map[string]uint64{"java.lang.RuntimeException at Paym.java:2": 1, "ERROR next": 1}},
		"class without an ending": {[]string{`Exception in thread "main" Payn$Gone`, "\tat Payn.main(Payn.java:3)"},
			map[string]uint64{"Payn$Gone at Payn.java:3": 1}},
		"objects of a line": {[]string{"[21:45:28] INFO (1): paid", "    fatal: 0", "    error: null", "  | ERROR x",
			"ERROR: next"}, map[string]uint64{"ERROR: next": 1}},
		"a level that is moved": {[]string{"    INFO a", "   ERROR b", "   ERROR c"}, map[string]uint64{"ERROR b": 1, "ERROR c": 1}},
		"no line before":        {[]string{"", "  error: no"}, map[string]uint64{"error: no": 1}},
		"Ruby, a library": {[]string{"<internal:/usr/lib/ruby/a/require.rb>:85:in `require': no (LoadError)",
			"\tfrom /srv/app/x.rb:1:in `<main>'", "ok"}, map[string]uint64{"LoadError at app/x.rb:1": 1}},
		"Elixir, a process": {[]string{"[error] Process raised an exception", "** (RuntimeError) no", "INFO: ok",
			"** (RuntimeError) no"}, map[string]uint64{"[error] Process raised an exception": 1, "** (RuntimeError) no": 1}},
		"C++": {[]string{"terminate called after throwing an instance of 'E'", "  what():  no"},
			map[string]uint64{"terminate called after throwing an instance of 'E'": 1}},
		"sanitizer": {[]string{"=================", "==17==ERROR: AddressSanitizer: no", "=ERROR", "==x==ERROR: no"},
			map[string]uint64{"==<n>==ERROR: AddressSanitizer: no": 1}},
	} {
		if diff := cmp.Diff(tc.want, templates(t, driver(tc.lines), true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
