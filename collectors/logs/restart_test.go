package logs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
)

// A log is what the driver writes for one container.
type log struct {
	t    *testing.T
	path string
	last *target.Docker
}

func newLog(t *testing.T) *log {
	t.Helper()
	folder := filepath.Join(t.TempDir(), liar)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l := &log{t: t, path: filepath.Join(folder, liar+"-json.log")}
	l.write("")
	return l
}

func (l *log) write(text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	_ = f.Close() // was written
}

// piece is a line of the file, with a part of a line of the service or a whole one.
func piece(text string) string {
	b, _ := json.Marshal(map[string]string{"log": text, "stream": "stdout", "time": time.Now().Format(time.RFC3339Nano)})
	return string(b) + "\n"
}

func request(n int) string {
	return piece(fmt.Sprintf(`{"level":"error","message":"user %d is gone","path":"/users/%d","duration_ms":%d}`+"\n", n, n, n))
}

func (l *log) rotate() {
	l.t.Helper()
	_ = os.Rename(l.path+".1", l.path+".2") // there need not be one
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		l.t.Fatal(err)
	}
	l.write("")
}

// upkeep returns a collector with nothing but what is on the disk, in place of the one before.
func (l *log) upkeep(state string) (answer func() string) {
	l.t.Helper()
	l.stop()
	d := engineOf(l.t, l.path, target.DockerConfig{Name: "s", Root: "/", LogState: state,
		Logs: target.LogFields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms", Slow: time.Second}})
	l.last = d
	c := logs.Lines(d)
	return func() string {
		l.t.Helper()
		return collectortest.Answer(l.t, c)
	}
}

// stop ends the collector that runs, if there is one.
func (l *log) stop() {
	if l.last != nil {
		l.last.Close()
		l.last = nil
	}
}

func expect(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w+"\n") {
			t.Errorf("%s: not %s, but:\n%s", what, w, got)
		}
	}
}

// An upkeep that was killed is followed by one that counts on: what was written and rotated away meanwhile is counted, what
// was counted before is not counted again, and no counter decreases.
func TestRestart(t *testing.T) {
	t.Parallel()
	l, state := newLog(t), filepath.Join(t.TempDir(), "logs", "s.json")
	l.write(request(1))
	first := l.upkeep(state)
	expect(t, "what was there before", first(), `upkeep_logs_lines_total{server="s",service="shadow"} 0`)
	for n := range 10 {
		l.write(request(n))
	}
	l.write(piece("Traceback (most recent call last):\n") + piece("  File \"a.py\", line 1, in f\n"))
	half := piece("ValueError: bad input\n")
	l.write(half[:40])
	before := first()
	expect(t, "before", before, `upkeep_logs_lines_total{server="s",service="shadow"} 12`,
		`upkeep_logs_errors_total{server="s",service="shadow"} 10`,
		`upkeep_logs_error_messages_total{server="s",service="shadow",template="user <n> is gone"} 10`)

	l.write(half[40:] + request(1000) + request(11))
	l.rotate()
	l.write(request(12))
	l.rotate()
	l.write(request(13))
	second := l.upkeep(state)
	expect(t, "after", second(), `upkeep_logs_lines_total{server="s",service="shadow"} 17`,
		`upkeep_logs_errors_total{server="s",service="shadow"} 15`,
		`upkeep_logs_error_messages_total{server="s",service="shadow",template="user <n> is gone"} 14`,
		`upkeep_logs_requests_total{server="s",service="shadow",endpoint="/users/:id"} 14`,
		`upkeep_logs_request_duration_seconds_count{server="s",service="shadow"} 14`,
		`upkeep_logs_missed_files_total{server="s",service="shadow"} 0`)

	third := l.upkeep(state)
	expect(t, "nothing new", third(), `upkeep_logs_lines_total{server="s",service="shadow"} 17`,
		`upkeep_logs_requests_total{server="s",service="shadow",endpoint="/users/:id"} 14`)

	l.stop()
	for n := range 3 { // more than the files that are kept
		l.write(request(n))
		l.rotate()
	}
	if err := os.Remove(l.path + ".2"); err != nil {
		t.Fatal(err)
	}
	fourth := l.upkeep(state)
	expect(t, "files were removed while upkeep was down", fourth(),
		`upkeep_logs_missed_files_total{server="s",service="shadow"} 1`)
}

// A line of ten megabytes that the driver has split is one line with its level, also where upkeep is killed
// before its end.
func TestRestartInALongLine(t *testing.T) {
	t.Parallel()
	l, state := newLog(t), filepath.Join(t.TempDir(), "s.json")
	l.upkeep(state)()
	part := piece(strings.Repeat("x", 16<<10))
	l.write(piece(`{"message":"` + strings.Repeat("x", 16<<10-12)))
	for range 320 {
		l.write(part)
	}
	l.upkeep(state)()
	for range 320 {
		l.write(part)
	}
	l.write(piece(`","level":"error"}` + "\n"))
	expect(t, "afterwards", l.upkeep(state)(), `upkeep_logs_lines_total{server="s",service="shadow"} 1`)

	l.write(piece(`{"message":"` + strings.Repeat("x", 16<<10-12)))
	for range 640 {
		l.write(part)
	}
	l.write(piece(`","level":"error"}` + "\n"))
	expect(t, "at once", l.upkeep(state)(), `upkeep_logs_lines_total{server="s",service="shadow"} 2`,
		`upkeep_logs_errors_total{server="s",service="shadow"} 1`)
}

// What is no log of the driver does not stop the reading: a line of many megabytes, and a hole.
func TestLongLineAndHole(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	answer := l.upkeep("")
	answer()
	for range 5 {
		l.write(strings.Repeat("x", 10<<20))
		answer()
	}
	l.write("\n" + strings.Repeat("\x00", 5<<20))
	answer()
	l.write(request(1))
	expect(t, "afterwards", answer(), `upkeep_logs_lines_total{server="s",service="shadow"} 2`,
		`upkeep_logs_plain_lines_total{server="s",service="shadow"} 1`)
}
