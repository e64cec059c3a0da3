package redis_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
)

func roomOf(t *testing.T, r *target.Redis) remediate.Headroom {
	t.Helper()
	roomer, ok := redis.BGSave(r).Executor.(remediate.Roomer)
	if !ok {
		t.Fatal("the action cannot tell how much room there is")
	}
	h, err := roomer.Headroom(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wait asks until the answer is as expected.
func wait(t *testing.T, r *target.Redis, what string, is func(remediate.Headroom) bool) {
	t.Helper()
	var h remediate.Headroom
	for end := time.Now().Add(servertest.Patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if h = roomOf(t, r); is(h) {
			return
		}
	}
	t.Fatalf("%s: %+v", what, h)
}

// A frozen replica is behind; how far one is that only begins is not
// known, and never taken for little.
func TestHeadroom(t *testing.T) {
	primary := server(t, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "3")
	h := roomOf(t, primary)
	if h.FreeDisk != nil || h.Transaction == nil || *h.Transaction != 0 || h.Lag == nil || *h.Lag != 0 {
		t.Errorf("a server without replicas reports %+v", h)
	}
	host, port, err := net.SplitHostPort(primary.Client.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	second := servertest.Redis(t, "--replicaof", host, port, "--masterauth", "a secret word")
	// The primary waits three seconds for other replicas before it sends anything.
	wait(t, primary, "while a replica begins", func(h remediate.Headroom) bool { return h.Lag == nil })
	wait(t, primary, "when it follows", func(h remediate.Headroom) bool {
		return h.Lag != nil &&
			*h.Lag <= time.Second
	})
	if err := syscall.Kill(second.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(second.PID(), syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	wait(t, primary, "while it is frozen", func(h remediate.Headroom) bool {
		return h.Lag != nil &&
			*h.Lag >= 3*time.Second
	})
}

func TestHeadroomOfNobody(t *testing.T) {
	r, err := target.NewRedis(target.RedisConfig{Name: "cache", URL: "redis://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if h, err := redis.BGSave(r).Executor.(remediate.Roomer).Headroom(ctx, remediate.Request{}); err == nil {
		t.Errorf("a server that does not answer says %+v", h)
	}
}
