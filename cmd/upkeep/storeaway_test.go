package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/product/text"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/engine"
	"github.com/ai-micro-service/upkeep/remediate/webhook"
)

// A bare upkeep looks after nothing but its own machine.
type bare struct {
	site
	cmd *exec.Cmd
}

func newBare(t *testing.T, dir, embedded, where string) *bare {
	t.Helper()
	b := &bare{site: site{dir: dir, address: freeAddress(t)}}
	token := filepath.Join(t.TempDir(), "token") // where there is room
	write(t, token, adminToken)
	write(t, filepath.Join(dir, "upkeep.yaml"),
		fmt.Sprintf("data_dir: data\nweb: {listen: %q, token_file: %q}\nembedded: {%s}\ntargets: {host: [{name: here}]}\n"+
			"collectors: {settings: {host/updates: {disabled: true}}}\n%s", b.address, token, embedded, where))
	return b
}

func (b *bare) start(t *testing.T) {
	t.Helper()
	b.cmd = spawn(t, b.dir, "upkeep", "serve", "--config", "upkeep.yaml")
}

// says asks for a path, and posts a body where there is one.
func (b *bare) says(path, body string) (status int, text string, err error) {
	var res *http.Response
	if body == "" {
		res, err = http.Get("http://" + b.address + path)
	} else {
		res, err = http.Post("http://"+b.address+path, "application/json", strings.NewReader(body))
	}
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }() // read only
	all, err := io.ReadAll(res.Body)
	return res.StatusCode, string(all), err
}

// await waits until a path is answered with a status and a text.
func (b *bare) await(t *testing.T, path, body string, status int, text string) {
	t.Helper()
	servertest.Eventually(t, path, func() error {
		got, said, err := b.says(path, body)
		if err == nil && (got != status || !strings.Contains(said, text)) {
			err = fmt.Errorf("%d %.300q, want %d %q", got, said, status, text)
		}
		return err
	})
}

const oneAlert = `{"version": "4", "alerts": [{"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "labels": {"alertname": "A"}, "annotations": {}}]}`

// without checks that upkeep serves what it can while its store cannot be had.
func (b *bare) without(t *testing.T, why string) {
	t.Helper()
	b.await(t, "/-/ready", "", http.StatusServiceUnavailable, "not ready: the store takes no writes")
	servertest.Eventually(t, "the log says why", func() error {
		log, err := os.ReadFile(filepath.Join(b.dir, "upkeep.log"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, `msg="not ready"`) && strings.Contains(line, why) {
				return nil
			}
		}
		_, said, err := b.says("/-/ready", "") // it is logged for who asks
		return fmt.Errorf("%w %s", err, said)
	})
	b.await(t, "/metrics", "", http.StatusOK, "upkeep_build_info")
	b.await(t, "/-/healthy", "", http.StatusOK, "")
	b.await(t, webhook.Alertmanager().Path, oneAlert, http.StatusServiceUnavailable, "")
}

// with checks that it takes what comes as soon as the store can be had again.
func (b *bare) with(t *testing.T) {
	t.Helper()
	b.await(t, webhook.Alertmanager().Path, oneAlert, http.StatusOK, "")
	b.await(t, "/-/ready", "", http.StatusOK, "")
	b.await(t, console.Prefix+"/status", "", http.StatusOK, `"alertname":"A"`)
	b.await(t, "/metrics", "", http.StatusOK, "upkeep_runs_stuck 0\n")
	b.await(t, "/metrics", "", http.StatusOK, "upkeep_journal_intact 1\n")
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("upkeep was asked to stop: %v", err)
	}
}

// upkeep starts on a full disk, also where it never ran before and where it was killed,
// serves metrics, and takes deliveries when there is room. One that runs says on a full
// disk that it is not ready.
func TestFullDisk(t *testing.T) {
	for _, embedded := range []string{"enabled: false", "group_wait: 10ms"} {
		for _, before := range []string{"never ran", "was killed", "was stopped", "runs"} {
			t.Run(embedded+", "+before, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				disk := newFull(t, dir)
				b := newBare(t, dir, embedded, "")
				if before != "never ran" {
					b.start(t)
					b.awaitReady(t)
				}
				switch before {
				case "was killed":
					kill(t, b.cmd)
				case "was stopped":
					end(t, b.cmd)
				}
				empty := disk.fill(t)
				if before != "runs" {
					b.start(t)
				}
				b.without(t, "full")
				empty()
				b.with(t)
			})
		}
	}
}

// The same while the PostgreSQL server of the store is stopped, frozen or refuses
// connections.
func TestStoreServerAway(t *testing.T) {
	for kind, why := range map[string]string{"stopped": "connect", "frozen": "no answer", "refused": "connect"} {
		for _, runs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, runs %t", kind, runs), func(t *testing.T) {
				t.Parallel()
				a := newAway(t, nil)
				_, where := a.options()
				b := newBare(t, t.TempDir(), "enabled: false", where)
				if runs {
					b.start(t)
					b.awaitReady(t)
				}
				back := a.outage(t, kind)
				if !runs {
					b.start(t)
				}
				if kind == "frozen" && !runs {
					why = "" // it is still connecting
				}
				b.without(t, why)
				back()
				b.with(t)
			})
		}
	}
}

// What a person has to mend is said at once: it is not waited for.
func TestStoreThatNeedsAPerson(t *testing.T) {
	url, _ := servertest.Database(t)
	b := newBare(t, t.TempDir(), "enabled: false", fmt.Sprintf("store: {url: %q}\n",
		strings.Replace(url, "test_", "not_there_", 1)))
	cmd := exec.CommandContext(t.Context(), "upkeep", "serve", "--config", "upkeep.yaml")
	cmd.Dir = b.dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "does not exist") {
		t.Errorf("%v: %s", err, out)
	}
}

// A stuck run is listed first.
func TestStatusBeginsWithStuckRuns(t *testing.T) {
	var out bytes.Buffer
	run := remediate.Run{ID: 3, State: remediate.Allowed,
		Request: remediate.Request{Action: "postgres/vacuum", Subject: map[string]string{"table": "t"}}}
	text.Status(&out, console.Status{
		Pauses: []console.PauseLine{{Pause: remediate.Pause{Scope: "all", By: "ann", Reason: "r"}}},
		Stuck: []engine.Stuck{{Run: run,
			Why: "step 1 (VACUUM t) has a timeout of 2h0m0s, and no progress was recorded since 10:00"}},
	}, time.Now())
	const want = `0 targets; no alert is firing; 1 run is stuck; 1 pause
STUCK run 3: postgres/vacuum on table="t" is allowed: step 1 (VACUUM t) has a timeout of 2h0m0s, and no progress was recorded since 10:00. See upkeep show 3; cancel it with upkeep cancel 3 --why …` + "\n"
	if !strings.HasPrefix(out.String(), want) {
		t.Error(out.String())
	}
}
