package redis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
	"github.com/ai-micro-service/upkeep/remediate/actiontest"
)

func TestRestart(t *testing.T) {
	u, r := supervised(t)
	actiontest.Run(t, actiontest.Case{
		Action: redis.Restart(r), Subject: map[string]string{"server": "cache"}, Limit: fragLimit, Secret: secret,
		Child:   "redis://" + r.Client.Options().Addr,
		Degrade: func(t *testing.T) { fragment(t, r) },
		State: func(t *testing.T) string {
			return fmt.Sprint(u.count(), info(t, r, "run_id"), info(t, r, "rdb_saves"), do(t, r, "dbsize"))
		},
		Effects: func(*testing.T) int { return u.count() },
	})
	for _, c := range u.said("restart") {
		if want := []string{"restart", "--no-ask-password", "--", unitName}; strings.Join(c[:4],
			" ") != strings.Join(want, " ") || strings.Contains(strings.Join(c, " "), secret) {
			t.Fatalf("systemctl was called with %q", c)
		}
	}
	if got := do(t, r, "dbsize"); got != "5000" {
		t.Errorf("%s keys are there, want 5000", got)
	}
}

// plannedRestart makes the plan of a restart.
func plannedRestart(t *testing.T, r *target.Redis) remediate.Step {
	t.Helper()
	plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Steps[0]
}

// What was acknowledged is there afterwards, though the server saves nothing of its
// own accord and clients write all the time.
func TestRestartLosesNothing(t *testing.T) {
	for name, args := range map[string][]string{"nothing is saved": nil, "save points": {"--save", "3600 1"},
		"append-only file": {"--appendonly", "yes"}} {
		t.Run(name, func(t *testing.T) {
			u, r := supervised(t, args...)
			populate(t, r, 2000)
			do(t, r, "config", "set", "rdb-key-save-delay", "100") // a save takes a fifth of a second
			step := plannedRestart(t, r)
			var acknowledged [4]atomic.Int64
			stop := make(chan struct{})
			var writers sync.WaitGroup
			c := goredis.NewClient(&goredis.Options{Addr: r.Client.Options().Addr, Password: secret, MaxRetries: -1,
				DisableIdentity: true})
			defer func() { _ = c.Close() }() // nothing is left to be written
			for i := range acknowledged {
				writers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						time.Sleep(time.Millisecond)
						// One that failed may have been done and not been acknowledged.
						if n, err := c.Incr(context.Background(), fmt.Sprint("counter", i)).Result(); err == nil {
							acknowledged[i].Store(n)
						}
					}
				})
			}
			for acknowledged[0].Load() < 10 {
				time.Sleep(time.Millisecond)
			}
			err := apply(t, redis.Restart(r), &step)
			close(stop)
			writers.Wait()
			if err != nil || u.count() != 1 {
				t.Fatalf("%d restarts, %v", u.count(), err)
			}
			for i := range acknowledged {
				n, err := r.Client.Get(t.Context(), fmt.Sprint("counter", i)).Int64()
				if want := acknowledged[i].Load(); err != nil || n < want {
					t.Errorf("the counter is %d (%v), and %d was acknowledged", n, err, want)
				}
			}
		})
	}
}

// A restart that does not happen lets writes go on at once.
func TestRestartGivenUp(t *testing.T) {
	u, r := supervised(t)
	do(t, r, "set", "k", "v")
	step := plannedRestart(t, r)
	u.refuse = "Failed to restart: Interactive authentication required."
	err := apply(t, redis.Restart(r), &step)
	refuses(t, err, remediate.ReasonPrivilege, "org.freedesktop.systemd1.manage-units")
	u.refuse = "Job failed."
	if err := apply(t, redis.Restart(r), &step); err == nil || !strings.Contains(err.Error(), "Job failed.") {
		t.Errorf("Apply: %v", err)
	}
	// The save takes longer than writes may be held.
	populate(t, r, 500)
	step.Args["pause"] = "1s"
	do(t, r, "config", "set", "rdb-key-save-delay", "4000")
	if err := redis.BGSave(r).Apply(t.Context(), fence(),
		remediate.Step{Args: map[string]string{"saves": info(t, r, "rdb_saves"),
			"last_save": info(t, r, "rdb_last_save_time")}}); err != nil {
		t.Fatal(err)
	}
	refuses(t, apply(t, redis.Restart(r), &step), remediate.ReasonUnfit, "give pause more time")
	began := time.Now()
	do(t, r, "set", "k", "w")
	if took := time.Since(began); took > servertest.Patience || u.count() != 0 {
		t.Errorf("%d restarts, and a write waited for %s", u.count(), took)
	}
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{Params: map[string]string{"pause": "1s"}})
	refuses(t, err, remediate.ReasonUnfit, "give pause more time")
}

// A step that is done is known to be done; what has changed is reported.
func TestRestartChecksWhatCameBack(t *testing.T) {
	u, r := supervised(t, "--maxmemory", "100mb")
	step := plannedRestart(t, r)
	if err := apply(t, redis.Restart(r), &step); err != nil {
		t.Fatal(err)
	}
	if err := apply(t, redis.Restart(r), &step); err != nil || u.count() != 1 {
		t.Fatalf("%d restarts, %v", u.count(), err)
	}
	step = plannedRestart(t, r)
	do(t, r, "config", "set", "maxmemory", "200mb")
	refuses(t, apply(t, redis.Restart(r), &step), remediate.ReasonUnfit,
		"maxmemory is 209715200 by CONFIG SET, and its command line has 100mb")
	if u.count() != 1 {
		t.Errorf("it was restarted")
	}
}

// A server that listens elsewhere than it is started is another, or comes back on a
// port that no client uses.
func TestRestartOnAnotherPort(t *testing.T) {
	u, r := supervised(t)
	populate(t, r, 10)
	port, err := sandbox.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	do(t, r, "config", "set", "port", fmt.Sprint(port))
	r = as(t, fmt.Sprintf("redis://127.0.0.1:%d", port), secret, r.Restart)
	answers(t, r)
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit,
		fmt.Sprintf("the server listens on port %d, and who restarts it starts one on port", port))
	if u.count() != 0 {
		t.Error("it was restarted")
	}
}

func TestRestartRefuses(t *testing.T) {
	u, r := supervised(t)
	expect := func(reason string, request remediate.Request, want ...string) {
		t.Helper()
		_, err := redis.Restart(r).Plan(t.Context(), request)
		refuses(t, err, reason, want...)
	}
	for _, params := range []map[string]string{{"pause": "long"}, {"pause": "0s"}, {"replicas": "maybe"},
		{"disk": "7"}} {
		expect(remediate.ReasonSubject, remediate.Request{Params: params})
	}
	u.pid = 1
	expect(remediate.ReasonUnfit, remediate.Request{}, "it is another")
	u.pid = 0
	_, err := redis.Restart(as(t, u.server.URL, secret, target.Restart{})).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "no way to restart the server is configured")

	second := servertest.Redis(t, "--replicaof", "127.0.0.1", fmt.Sprint(u.server.Port), "--masterauth", secret,
		"--repl-diskless-sync-delay", "0")
	for end := time.Now().Add(2 * time.Minute); info(t, r,
		"connected_slaves") != "1"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no replica follows")
		}
	}
	expect(remediate.ReasonUnfit, remediate.Request{}, "1 replicas follow the server")
	if _,
		err := redis.Restart(r).Plan(t.Context(),
		remediate.Request{Params: map[string]string{"replicas": "true"}}); err != nil {
		t.Error(err)
	}
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); info(t, r,
		"connected_slaves") != "0"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still followed")
		}
	}

	populate(t, r, 300)
	do(t, r, "config", "set", "rdb-key-save-delay", "5000")
	if err := redis.BGSave(r).Apply(t.Context(), fence(),
		remediate.Step{Args: map[string]string{"saves": info(t, r, "rdb_saves"), "last_save": "0"}}); err != nil {
		t.Fatal(err)
	}
	u.grace = "2s"
	expect(remediate.ReasonUnfit, remediate.Request{}, "systemd kills the server 2s after", "TimeoutStopSec")
	u.grace = "infinity"
	if plan, err := redis.Restart(r).Plan(t.Context(), remediate.Request{}); err != nil ||
		!strings.Contains(strings.Join(plan.Facts, "; "), "as long as it wants to stop") {
		t.Errorf("%q, %v", plan.Facts, err)
	}

	if err := os.Remove(u.dir + "/dump.rdb"); err != nil {
		t.Fatal(err)
	}
	mkdir(t, u.dir+"/dump.rdb")
	do(t, r, "config", "set", "rdb-key-save-delay", "0")
	if err := redis.BGSave(r).Apply(t.Context(), fence(),
		remediate.Step{Args: map[string]string{"saves": info(t, r, "rdb_saves"),
			"last_save": info(t, r, "rdb_last_save_time")}}); err == nil {
		t.Fatal("a save into a folder has succeeded")
	}
	expect(remediate.ReasonUnfit, remediate.Request{}, "the last snapshot failed")
}

// A server with other settings at run time than at its start would come back with other data.
func TestRestartReadsHowItIsStarted(t *testing.T) {
	for _, tc := range []struct{ file, now, want string }{
		{"appendonly no\n", "yes", "appendonly is yes by CONFIG SET, and its configuration file has no"},
		{"appendonly no\nappendonly yes\n", "no", "appendonly is no by CONFIG SET, and its configuration file has yes"},
		{"# appendonly yes\n", "no", ""},
		{"", "yes", "has no"},
		{"APPENDONLY \"yes\"\n", "yes", ""},
	} {
		_, r := startedWith(t, tc.file)
		do(t, r, "config", "set", "appendonly", tc.now)
		for info(t, r, "aof_rewrite_in_progress") == "1" || info(t, r, "aof_rewrite_scheduled") == "1" {
			time.Sleep(10 * time.Millisecond)
		}
		_, err := redis.Restart(r).Plan(t.Context(), remediate.Request{})
		if tc.want != "" {
			refuses(t, err, remediate.ReasonUnfit, tc.want)
		} else if err != nil {
			t.Errorf("%q: %v", tc.file, err)
		}
	}
}

// startedWith starts a server with a configuration file.
func startedWith(t *testing.T, text string) (*unit, *target.Redis) {
	t.Helper()
	return supervisedWith(t, readable(t, "redis.conf", text))
}

// readable makes a file that the server, which is another user, can read.
func readable(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	for _, folder := range []string{filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// On a replica nothing is held: what it has, its primary has.
func TestRestartOfAReplica(t *testing.T) {
	primary := server(t, "--repl-diskless-sync-delay", "0")
	populate(t, primary, 1000)
	host, port, err := net.SplitHostPort(primary.Client.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	u, r := supervised(t, "--replicaof", host+" "+port, "--masterauth", secret)
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{}) // it may not follow yet
	if err != nil {
		refuses(t, err, remediate.ReasonUnfit)
	}
	for end := time.Now().Add(2 * time.Minute); info(t, r,
		"master_link_status") != "up"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not follow")
		}
	}
	step := plannedRestart(t, r)
	if strings.Contains(step.Do, "PAUSE") {
		t.Errorf("it would %s", step.Do)
	}
	if err := apply(t, redis.Restart(r), &step); err != nil || u.count() != 1 {
		t.Fatalf("%d restarts, %v", u.count(), err)
	}
	if got := do(t, r, "dbsize"); got != "1000" {
		t.Errorf("%s keys are there, want 1000", got)
	}
	do(t, r, "replicaof", host, "1")
	for info(t, r, "master_link_status") != "down" {
		time.Sleep(20 * time.Millisecond)
	}
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "does not follow its primary")
}
