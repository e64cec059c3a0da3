package logs_test

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/logs"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

var (
	floodLines = flag.Int("flood.lines", 6000, "so many lines each service writes")         //nolint:gochecknoglobals // a flag of the tests
	floodRate  = flag.Int("flood.rate", 1000, "so many lines a second")                     //nolint:gochecknoglobals // a flag of the tests
	floodRude  = flag.Bool("flood.rude", false, "kill upkeep while the services write too") //nolint:gochecknoglobals // a flag of the tests
)

// A flooded is an upkeep that is killed and started again: its collector has nothing but the
// state on the disk. What it has counted since is lost with it.
type flooded struct {
	t      *testing.T
	config target.DockerConfig
	engine *target.Docker
	c      collectors.Collector
	kills  int
	briefs int  // containers that lived for a second
	ended  bool // the log of a container that was removed may not be read to its end yet
}

// counted reports of which services not every line was counted yet.
func (f *flooded) counted(got string, services []string) error {
	for _, name := range services {
		if n := sample(got, "upkeep_logs_lines_total", name); n < *floodLines {
			return fmt.Errorf("%s: %d lines", name, n)
		}
	}
	// Of one that is gone before the engine is asked, the name is not known.
	n := sample(got, "upkeep_logs_lines_total", "brief") + sample(got, "upkeep_logs_lines_total", "other")
	if n != briefLines*f.briefs {
		return fmt.Errorf("brief: %d lines of %d", n, briefLines*f.briefs)
	}
	return nil
}

// briefLines is how many lines a container writes that lives for a second.
const briefLines = 100

func (f *flooded) start() {
	f.t.Helper()
	if f.engine != nil {
		f.engine.Close()
	}
	engine, err := target.NewDocker(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(engine.Close)
	f.engine, f.c = engine, logs.Lines(engine)
}

// floods are the services, with their options: one whose log is rotated each few seconds, one whose files are compressed
// too, one whose log is copied and truncated, and one that is removed when it has ended.
func floods() map[string][]string {
	return map[string][]string{
		"rotated":    {"--log-opt", "max-size=1m", "--log-opt", "max-file=3"},
		"compressed": {"--log-opt", "max-size=1m", "--log-opt", "max-file=3", "--log-opt", "compress=true"},
		"copied":     {},
		"removed":    {"--rm", "--log-opt", "max-size=1m", "--log-opt", "max-file=2"},
	}
}

// Services write a thousand lines a second into logs that are rotated at a megabyte, compressed, copied and truncated, or
// removed, and upkeep is killed meanwhile. No line is missed, and none is counted twice.
func TestFlood(t *testing.T) {
	d := servertest.Docker(t)
	servertest.Image(t, d, "service:1", "../docker/testdata/service")
	f := &flooded{t: t, config: target.DockerConfig{Name: "s", Host: d.Host, Root: "/",
		LogState: filepath.Join(t.TempDir(), "logs.json"),
		Logs: target.LogFields{Level: "level", Message: "message", Path: "path", Duration: "duration_ms",
			Slow: time.Second}}}
	flood := func(name string, lines, rate int, options ...string) string {
		args := append([]string{"run", "--detach", "--network", "none", "--no-healthcheck", "--name", name}, options...)
		return do(t, d, append(args, "service:1", "flood", strconv.Itoa(lines), strconv.Itoa(rate))...)
	}
	flood("before", 1, 1)
	f.start()
	collectortest.Answer(t, f.c)
	ids := make(map[string]string)
	for name, options := range floods() {
		ids[name] = flood(name, *floodLines, *floodRate, options...)
	}
	path := do(t, d, "inspect", "--format", "{{.LogPath}}", ids["copied"])
	for cycle := 0; ; cycle++ {
		running := strings.Fields(do(t, d, "ps", "--filter", "status=running", "--format", "{{.Names}}"))
		if len(running) == 0 {
			break
		}
		switch cycle % 3 {
		case 0:
			f.kill(d, running)
		case 1:
			if slices.Contains(running, "copied") {
				copyAndTruncate(t, d, "copied", path)
			}
		case 2: // one that is there for a second, and upkeep is not asked meanwhile
			f.briefs++
			do(t, d, "run", "--rm", "--network", "none", "--no-healthcheck", "--name", "brief", "service:1", "flood",
				strconv.Itoa(briefLines), strconv.Itoa(briefLines))
			f.ended = true
		}
	}
	var got string
	servertest.Eventually(t, "all lines are counted", func() error {
		got = collectortest.Answer(t, f.c)
		return f.counted(got, slices.Collect(maps.Keys(ids)))
	})
	for name := range ids {
		for _, metric := range []string{"upkeep_logs_lines_total", "upkeep_logs_request_duration_seconds_count"} {
			if n := sample(got, metric, name); n != *floodLines {
				t.Errorf("%s: %s is %d, want %d", name, metric, n, *floodLines)
			}
		}
	}
	for _, name := range []string{"rotated", "compressed", "removed"} { // of the one that is truncated, the end may be missed
		if n := sample(got, "upkeep_logs_missed_files_total", name); n != 0 {
			t.Errorf("%s: %d files were missed", name, n)
		}
	}
	t.Logf("%d services wrote %d lines each at %d a second, %d lived for a second, and upkeep was killed %d times: "+
		"0 lines missed, 0 twice", len(ids), *floodLines, *floodRate, f.briefs, f.kills)
}

// kill kills upkeep and starts another one. What ends meanwhile is paused, since its log goes with it.
func (f *flooded) kill(d *sandbox.Docker, running []string) {
	f.t.Helper()
	var paused []string
	gone := !slices.Contains(running, "removed")
	for _, name := range running {
		if !*floodRude || name == "removed" {
			if _, err := d.Run(f.t.Context(), nil, "pause", name); err == nil { // it may have ended
				paused = append(paused, name)
			} else {
				gone = true
			}
		}
	}
	if gone { // what is read of it is saved
		collectortest.Answer(f.t, f.c)
	}
	if f.ended {
		// Its file is on no disk any more: while the engine has not said whose it is, upkeep has its lines in what it
		// holds open, and nowhere else.
		servertest.Eventually(f.t, "the containers that lived for a second are counted", func() error {
			return f.counted(collectortest.Answer(f.t, f.c), nil)
		})
		f.ended = false
	}
	f.kills++
	f.start()
	collectortest.Answer(f.t, f.c)
	for _, name := range paused {
		do(f.t, d, "unpause", name)
	}
}

func do(t *testing.T, d *sandbox.Docker, args ...string) string {
	t.Helper()
	out, err := d.Run(t.Context(), nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sample returns the value of a service's metric, 0 where it has none.
func sample(text, metric, service string) int {
	m := regexp.MustCompile(`(?m)^` + metric + `\{server="s",service="` + service + `"\} (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	return int(n)
}

// copyAndTruncate does what logrotate does. The service is paused meanwhile: what it writes between the
// copy and the truncation is lost to all.
func copyAndTruncate(t *testing.T, d *sandbox.Docker, name, path string) {
	t.Helper()
	if _, err := d.Run(t.Context(), nil, "pause", name); err != nil {
		return // it has ended
	}
	before := int64(-1)
	servertest.Eventually(t, "the engine has written what the service had", func() bool {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		same := info.Size() == before
		if before = info.Size(); !same {
			time.Sleep(100 * time.Millisecond)
		}
		return same
	})
	_ = os.Rename(path+".2", path+".3") // there need not be any
	_ = os.Rename(path+".1", path+".2")
	if err := errors.Join(copyOf(path, path+".1"), os.Truncate(path, 0)); err != nil {
		t.Error(err)
	}
	do(t, d, "unpause", name)
}

func copyOf(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
