package demo_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/product/demo"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// left are the folders of demos, which remove them at their end.
func left(t *testing.T, tmp string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(tmp, "upkeep-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// The demo ends with every alert resolved, and what upkeep measured is what psql
// and redis-cli report.
func TestOnce(t *testing.T) {
	var out bytes.Buffer
	if err := demo.Run(t.Context(), demo.Options{Out: &out, Listen: "127.0.0.1:0", Once: true,
		Timeout: 20 * time.Minute}); err != nil {
		t.Fatalf("Run: %v\n%s", err, &out)
	}
	for _, want := range []string{
		`ALERT +PostgresDeadRows fires`, `plan: 1 step`, `guard: all guards passed`,
		`step 1: REINDEX INDEX CONCURRENTLY`, `RESOLVED +RedisSnapshotOld`,
		`PostgresDeadRows +postgres/vacuum +66\.7 % → 0 % +limit 20 %`,
		`dead rows of orders +1000000 of 1500000 → 0 of 500000`, // 66.7 % → 0 %
		`PostgresIndexBloat +postgres/reindex +8\d(\.\d)? % → [\d.]+ % +limit 40 %`,
		`size of sessions_token +5\d(\.\d)? MiB → 7\.\d+ MiB`,                           // 87 % of 51.3 MiB were bloat
		`RedisSnapshotOld +redis/bgsave +(\d+m)?\d+s → (\d+ms|\d+(\.\d+)?s) +limit 15s`, // the machine may be busy
		`snapshots of Redis +0 → 1, with 100000 → 0 changes`,
	} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("no %s in:\n%s", want, &out)
		}
	}
}

func TestTimeout(t *testing.T) {
	var out bytes.Buffer
	err := demo.Run(t.Context(), demo.Options{Out: &out, Listen: "127.0.0.1:0", Once: true, Timeout: time.Second})
	if !errors.Is(err, demo.ErrNotResolved) {
		t.Errorf("Run: %v\n%s", err, &out)
	}
}

// Ctrl-C in the middle is a good end, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	tmp, err := servertest.Dir() // the servers' own user must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) }) // empty, or said below
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	var dirs []string
	err = demo.Run(ctx, demo.Options{Out: &out, Listen: "127.0.0.1:0", Timeout: time.Minute, Ready: func(demo.Servers) {
		dirs = left(t, tmp)
		cancel()
	}})
	if err != nil || len(dirs) != 1 || len(left(t, tmp)) != 0 ||
		!strings.Contains(out.String(), "the console is at http://127.0.0.1:") {
		t.Errorf("Run: %v, folders %v then %v\n%s", err, dirs, left(t, tmp), &out)
	}
}
