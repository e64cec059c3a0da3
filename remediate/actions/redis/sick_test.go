package redis_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
)

// A server that reads its data set is left alone, and looked at again.
func TestLoading(t *testing.T) {
	_, r := supervised(t, "--enable-debug-command", "yes", "--appendonly", "yes", "--aof-use-rdb-preamble", "yes")
	populate(t, r, 3000)
	// three seconds
	do(t, r, "config", "set", "key-load-delay", "1000", "loading-process-events-interval-bytes", "1024")
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		// it takes longer than the client waits
		_ = r.Client.Do(context.WithoutCancel(t.Context()), "debug", "reload").Err()
	}()
	for end := time.Now().Add(2 * time.Minute); info(t, r, "loading") != "1"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not load")
		}
	}
	for _, a := range actions(r) {
		_, err := a.Plan(t.Context(), remediate.Request{})
		refuses(t, err, remediate.ReasonUnfit, "reading its data set")
		if refusal, ok := remediate.Refused(err); ok && refusal.Until.IsZero() {
			t.Errorf("%s is not tried again", a.Name)
		}
	}
	<-reloaded
}

// A frozen or missing server is an error without a secret, in time.
func TestStoppedAndGone(t *testing.T) {
	s := servertest.Redis(t, "--requirepass", secret)
	r := connect(t, s.URL)
	if err := r.Client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	silent := func(what string) {
		t.Helper()
		for _, a := range actions(r) {
			args := map[string]string{"saves": "0", "last_save": "0", "rewrites": "0", "base": "0", "limit": "1.5",
				"time": "1m", "run_id": "none", "pause": "1m", "set": "activedefrag yes", "back": "activedefrag no", "volatile": "false",
				"goes": "", "replica": "false", "appendonly": "false", "maxmemory": "0", "maxmemory-policy": "noeviction"}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			began := time.Now()
			_, err1 := a.Plan(ctx, remediate.Request{})
			_, err2 := a.Measure(ctx, remediate.Request{})
			err3 := a.Apply(ctx, fence(), remediate.Step{Args: args})
			cancel()
			for i, err := range []error{err1, err2, err3} {
				if _, refused := remediate.Refused(err); err == nil || refused ||
					strings.Contains(err.Error(), secret) {
					t.Errorf("%s, %s, question %d: %v", a.Name, what, i+1, err)
				}
			}
			if took := time.Since(began); took > servertest.Patience {
				t.Errorf("%s, %s: it took %s to give up", a.Name, what, took)
			}
		}
	}
	if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	silent("a frozen server")
	if err := syscall.Kill(s.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	silent("a server that is gone")
}

// A server that is killed in the middle fails the step, and says no secret.
func TestKilledInTheMiddle(t *testing.T) {
	for _, name := range []string{"redis/bgsave", "redis/bgrewriteaof"} {
		s, r := processOf(t, "--appendonly", "yes")
		populate(t, r, 1000)
		do(t, r, "config", "set", "rdb-key-save-delay", "5000")
		for _, a := range actions(r) {
			if a.Name != name {
				continue
			}
			plan, err := a.Plan(t.Context(), remediate.Request{})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- a.Apply(t.Context(), fence(), plan.Steps[0]) }()
			for end := time.Now().Add(2 * time.Minute); info(t, r, "rdb_bgsave_in_progress")+info(t, r,
				"aof_rewrite_in_progress") == "00"; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it does not begin")
				}
			}
			if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What changes no data can be done on a replica too.
func TestOnAReplica(t *testing.T) {
	primary := servertest.Redis(t, "--repl-diskless-sync-delay", "0")
	_, r := processOf(t, "--replicaof", "127.0.0.1 "+strings.TrimPrefix(primary.URL, "redis://127.0.0.1:"),
		"--appendonly", "yes")
	for end := time.Now().Add(2 * time.Minute); info(t, r,
		"master_link_status") != "up"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not follow")
		}
	}
	for _, a := range actions(r) {
		switch a.Name {
		case "redis/bgsave", "redis/bgrewriteaof", "redis/purge_memory":
			plan, err := a.Plan(t.Context(), remediate.Request{})
			if err == nil {
				err = a.Apply(t.Context(), fence(), plan.Steps[0])
			}
			if err != nil {
				t.Errorf("%s: %v", a.Name, err)
			}
		}
	}
}
