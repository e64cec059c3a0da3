package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// floodSize is how many alerts a flood has. From bigFlood on times are compared too.
var floodSize = flag.Int("flood", 5000, "alerts of a flood") //nolint:gochecknoglobals // a flag

const (
	bigFlood    = 100000
	perDelivery = 1000 // alerts of one delivery
)

// A river is an upkeep that is flooded.
type river struct {
	site
	cmd     *exec.Cmd
	repeats bool // what was answered 503
}

func newRiver(t *testing.T, config string) *river {
	t.Helper()
	r := &river{site: site{dir: t.TempDir(), address: freeAddress(t)}}
	text := fmt.Sprintf(`data_dir: data
web: {listen: %q}
log: {level: warn}
targets: {host: [{name: here}]}
collectors: {settings: {host/updates: {disabled: true}}}
`, r.address) + config
	if !strings.Contains(config, "embedded:") {
		text += "embedded: {enabled: false}\n"
	}
	write(t, filepath.Join(r.dir, "upkeep.yaml"), text)
	r.start(t)
	return r
}

func (r *river) start(t *testing.T) {
	t.Helper()
	r.cmd = spawn(t, r.dir, "upkeep", "serve", "--config", "upkeep.yaml")
	r.awaitReady(t)
}

// deliver sends alerts with distinct labels, of one name or of many, and returns how many deliveries
// were answered how.
func (r *river) deliver(t *testing.T, from, to int, firing bool, name func(n int) string) map[int]int {
	t.Helper()
	answers := make(map[int]int)
	now := time.Now()
	status, ends := "firing", ""
	if !firing {
		status, ends = "resolved", fmt.Sprintf(`,"endsAt":%q`, now.UTC().Format(time.RFC3339Nano))
	}
	for from < to {
		var all []string
		for n := from; n < min(from+perDelivery, to); n++ {
			all = append(all, fmt.Sprintf(`{"status":%q,"labels":{"alertname":%q,"server":"s%d","severity":"warning"},`+
				`"annotations":{"summary":"the flood rises"},"startsAt":"2026-01-01T00:00:00Z"%s}`, status, name(n), n, ends))
		}
		res, err := http.Post("http://"+r.address+"/webhook/alertmanager", "application/json", strings.NewReader(
			`{"version":"4","status":"firing","receiver":"x","groupKey":"g","alerts":[`+strings.Join(all, ",")+`]}`))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // it was read
		if answers[res.StatusCode]++; err != nil || res.StatusCode != http.StatusOK &&
			res.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("a delivery: %s %s %v", res.Status, text, err)
		}
		// A sender repeats what was answered 503: here where there is room, which ends always find.
		if firing && !r.repeats || res.StatusCode == http.StatusOK {
			from += perDelivery
		}
	}
	return answers
}

// A look is what the page, the metrics and the status cost: bytes, and the shortest of some times.
type look struct {
	bytes int
	took  time.Duration
}

func (r *river) look(t *testing.T) map[string]look {
	t.Helper()
	looks := make(map[string]look)
	for _, path := range []string{"/", "/metrics", console.Prefix + "/status"} {
		best := look{took: time.Hour}
		for range 200 {
			began := time.Now()
			res, err := http.Get("http://" + r.address + path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close() // it was read
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s %v", path, res.Status, err)
			}
			best = look{len(text), min(best.took, time.Since(began))}
		}
		looks[path] = best
	}
	return looks
}

// within waits for what takes longer the larger a flood is.
func within(t *testing.T, what string, holds func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(servertest.Patience + time.Duration(*floodSize)*10*time.Millisecond); time.Now().
		Before(end); time.Sleep(100 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// H5: a flood beyond the bounds is acknowledged or answered 503, of each alert that has a policy
// people hear in a few messages, and when there is room again the rest is taken.
func TestAttackFlood(t *testing.T) {
	hook := servertest.NewHook(t)
	t.Setenv("FLOOD_HOOK", hook.URL)
	const most = 200
	r := newRiver(t, fmt.Sprintf(`engine: {max_incidents: 500, max_incidents_per_alert: %d}
notify: [{name: hook, kind: webhook, url_env: FLOOD_HOOK}]
policies: [{name: p, match: ['alertname="Flood"'], action: redis/bgsave, mode: auto, limit: 1}]
`, most))
	one := func(int) string { return "Flood" }
	answers := r.deliver(t, 0, *floodSize, true, one)
	if answers[503] == 0 || answers[200]+answers[503] != (*floodSize+perDelivery-1)/perDelivery {
		t.Errorf("answers: %v", answers)
	}
	var s console.Status
	if err := r.get("/status", &s); err != nil || s.Open != most || len(s.Incidents) > 12 {
		t.Errorf("%d are open, and %d listed (%v); want %d", s.Open, len(s.Incidents), err, most)
	}
	r.deliver(t, 0, *floodSize, true, func(n int) string { return fmt.Sprint("Other", n) })
	if err := r.get("/status", &s); err != nil || s.Open != 500 {
		t.Errorf("%d are open (%v), want the bound of all", s.Open, err)
	}
	if n := parts(t, r, "/incidents", "after", "id"); n != 500 {
		t.Errorf("the parts of the incidents have %d, want 500", n)
	}
	within(t, "every run has ended", func() error {
		var lines []console.Line
		if err := r.get("/runs?limit=1000", &lines); err != nil || len(lines) != most {
			return fmt.Errorf("%d runs: %w", len(lines), err)
		}
		for _, l := range lines {
			if !l.State.Ended() {
				return fmt.Errorf("run %d is %s", l.ID, l.State)
			}
		}
		return nil
	})
	for path, want := range map[string]int{"/runs": most, "/journal": 3 * most} {
		if n := parts(t, r, path, "before", map[string]string{"/runs": "id", "/journal": "seq"}[path]); n < want {
			t.Errorf("the parts of %s have %d, want %d at least", path, n, want)
		}
	}
	within(t, "people were notified", func() error {
		if n := summed(t, hook); n < 20 {
			return fmt.Errorf("of %d incidents", n) // the rest is summed up in five minutes
		}
		return nil
	})
	if n := len(hook.Bodies()); n > 5 {
		t.Errorf("%d notifications", n)
	}
	r.deliver(t, 0, *floodSize, false, one)
	if answers := r.deliver(t, *floodSize-most, *floodSize, true, one); answers[503] != 0 {
		t.Errorf("when there was room again: %v", answers)
	}
	if t.Failed() {
		t.Logf("%d notifications:\n%s", len(hook.Bodies()), strings.Join(hook.Bodies(), "\n"))
	}
}

// H5 by the stock API: alerts beyond the bounds are answered 503, those that are known are taken, and people
// hear of it once.
func TestAttackFloodByAPI(t *testing.T) {
	hook := servertest.NewHook(t)
	t.Setenv("API_HOOK", hook.URL)
	r := newRiver(t, `engine: {max_incidents: 150, max_incidents_per_alert: 100}
notify: [{name: hook, kind: webhook, url_env: API_HOOK}]
embedded: {enabled: true}
`)
	send := func(name string, from, to int) (status int, text string) {
		t.Helper()
		var all []string
		for n := from; n < to; n++ {
			all = append(all, fmt.Sprintf(`{"labels":{"alertname":%q,"server":"s%d","empty":""}}`, name, n))
		}
		return try(t, "POST", r.address, "/api/v2/alerts", "["+strings.Join(all, ",")+"]", with("Authorization",
			"Bearer "+adminToken), with("Content-Type", "application/json"))
	}
	live := func() int {
		t.Helper()
		_, text := try(t, "GET", r.address, "/api/v2/alerts?filter=server%3D~%22s.*%22", "", with("Authorization",
			"Bearer "+adminToken))
		return strings.Count(text, `"alertname"`)
	}
	for n, one := range []struct {
		name           string
		from, to       int
		status, lively int
	}{
		{"Flood", 0, 90, 200, 90},
		{"Flood", 80, 1000, 503, 100}, // ten of them find room
		{"Flood", 0, 100, 200, 100},   // all are known
		{"Flood", 1000, 2000, 503, 100},
		{"Other", 0, 100, 503, 150}, // of the bound of all
		{"Other", 0, 50, 200, 150},
	} {
		if status, text := send(one.name, one.from, one.to); status != one.status || live() != one.lively {
			t.Errorf("%d: %d %.300s, and %d are live, want %+v", n, status, text, live(), one)
		}
	}
	_, metrics := try(t, "GET", r.address, "/metrics", "", with("Authorization", "Bearer "+adminToken))
	if !strings.Contains(metrics, `upkeep_inbox_alerts_refused_total{alertname="Flood"} 1900`) {
		t.Error("they are not counted")
	}
	servertest.Eventually(t, "people are notified", func() bool {
		return strings.Contains(strings.Join(hook.Bodies(), "\n"), "Too many alerts")
	})
	if n := strings.Count(strings.Join(hook.Bodies(), "\n"), "Too many alerts"); n != 1 {
		t.Errorf("people were notified %d times", n)
	}
}

// parts reads a list in parts, and returns how many different ones are in it.
func parts(t *testing.T, r *river, path, from, number string) int {
	t.Helper()
	seen, last := make(map[int64]bool), int64(0)
	for {
		var part []map[string]any
		if err := r.get(fmt.Sprintf("%s?limit=70&%s=%d", path, from, last), &part); err != nil {
			t.Fatal(err)
		}
		for _, one := range part {
			last = int64(one[number].(float64))
			if seen[last] {
				t.Fatalf("%s: %d is in two parts", path, last)
			}
			seen[last] = true
		}
		if len(part) < 70 {
			return len(seen)
		}
	}
}

// summed counts the notifications in the messages to a hook.
func summed(t *testing.T, hook *servertest.Hook) (n int) {
	t.Helper()
	for _, body := range hook.Bodies() {
		var m struct {
			Notifications []struct{ Title, Key string }
		}
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatal(err)
		}
		for _, one := range m.Notifications {
			of := 1
			if strings.HasPrefix(one.Key, "summary/") {
				if _, err := fmt.Sscan(one.Title, &of); err != nil {
					t.Fatal(err)
				}
			}
			n += of
		}
	}
	return n
}

// H5: with as many open incidents as the flood has alerts, the page, the metrics and the status are
// as with ten. When they are over and old they go, upkeep is killed meanwhile, the journal verifies,
// and the store is as small as before.
func TestAttackFloodIsForgotten(t *testing.T) {
	r := newRiver(t, `engine: {max_incidents: 10000000, max_incidents_per_alert: 10000000, flap: 0s}
store: {retention: 3s}
`)
	name := func(n int) string { return fmt.Sprint("Flood", n%7) }
	r.deliver(t, 0, 10, true, name)
	before, small := r.look(t), r.size(t)
	r.repeats = true // a busy machine may be too slow for one
	t.Logf("answers: %v", r.deliver(t, 10, *floodSize, true, name))
	within(t, "every incident is decided", func() error {
		var entries []struct{ Incident int64 }
		if err := r.get("/journal?limit=1", &entries); err != nil || len(entries) != 1 || entries[0].Incident != int64(*floodSize) {
			return fmt.Errorf("the last entry: %+v %w", entries, err)
		}
		return nil
	})
	for path, after := range r.look(t) {
		was := before[path]
		t.Logf("%s: %d B with 10 incidents and %d B with %d (%.2f), %s and %s (%.2f)", path, was.bytes, after.bytes, *floodSize,
			float64(after.bytes)/float64(was.bytes), was.took, after.took, float64(after.took)/float64(was.took))
		if float64(after.bytes) > 1.5*float64(was.bytes) || *floodSize >= bigFlood &&
			float64(after.took) > 1.5*float64(was.took) {
			t.Errorf("%s costs more than half as much again", path)
		}
	}
	r.deliver(t, 0, *floodSize, false, name)
	t.Logf("the store has %d B with 10 incidents, %d B with all", small, r.size(t))
	for range 2 {
		within(t, "the retention is at work", func() error {
			var k console.Check
			if err := r.get("/journal/verify", &k); err != nil || k.Deleted == 0 || len(k.Wrong) > 0 {
				return fmt.Errorf("%+v %w", k, err)
			}
			return nil
		})
		if err := errors.Join(r.cmd.Process.Kill(), r.killed()); err != nil {
			t.Fatal(err)
		}
		r.start(t)
	}
	within(t, "the store is as small as before", func() error {
		if n := r.size(t); n > small+small/2 {
			return fmt.Errorf("it has %d B", n)
		}
		return nil
	})
	for _, audit := range []string{"verify", "replay"} {
		var k console.Check
		if err := r.get("/journal/"+audit, &k); err != nil || len(k.Wrong) > 0 {
			t.Errorf("%s: %+v, %v", audit, k, err)
		}
	}
	t.Logf("the store has %d B after the retention", r.size(t))
}

// killed waits for a process that was killed.
func (r *river) killed() error {
	if err := r.cmd.Wait(); err != nil && r.cmd.ProcessState == nil {
		return err
	}
	return nil
}

// size is how large the store is on its disk.
func (r *river) size(t *testing.T) (bytes int64) {
	t.Helper()
	for _, name := range []string{"upkeep.db", "upkeep.db-wal"} {
		is, err := os.Stat(filepath.Join(r.dir, "data", name))
		if err == nil {
			bytes += is.Size()
		} else if !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return bytes
}
