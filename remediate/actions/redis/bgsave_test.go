package redis_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
	"github.com/ai-micro-service/upkeep/remediate"
	"github.com/ai-micro-service/upkeep/remediate/actions/redis"
)

func processOf(t *testing.T, args ...string) (*sandbox.Redis, *target.Redis) {
	t.Helper()
	s := servertest.Redis(t, append([]string{"--requirepass", secret}, args...)...)
	return s, connect(t, s.URL)
}

// noForks lets a server have no more processes. Its own user may take that from it,
// whom the server must not be root for.
func noForks(t *testing.T, pid int) {
	t.Helper()
	info, err := os.Stat(fmt.Sprint("/proc/", pid))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "prlimit", "--pid", strconv.Itoa(pid), "--nproc=0")
	if owner := info.Sys().(*syscall.Stat_t); int(owner.Uid) != os.Geteuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// A failed fork is reported as such.
func TestBGSaveWithoutAFork(t *testing.T) {
	s, r := processOf(t)
	action := redis.BGSave(r)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	noForks(t, s.PID())
	err = action.Apply(t.Context(), fence(), plan.Steps[0])
	if err == nil || !strings.Contains(err.Error(), "could not fork") {
		t.Errorf("Apply: %v", err)
	}
}

// A save that somebody else has begun is this one.
func TestBGSaveOfAnother(t *testing.T) {
	t.Parallel()
	r := server(t)
	populate(t, r, 300)
	do(t, r, "config", "set", "rdb-key-save-delay", "3000")
	do(t, r, "bgsave")
	action := redis.BGSave(r)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(plan.Facts, "; "), "a snapshot is being made already") {
		t.Errorf("the plan does not mention it: %q", plan.Facts)
	}
	if err := action.Apply(t.Context(), fence(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	if got := info(t, r, "rdb_saves"); got != "1" {
		t.Errorf("%s saves", got)
	}
}

// smallDisk starts a server on a disk of its own that has little room.
func smallDisk(t *testing.T, size string, args ...string) (*target.Redis, string) {
	t.Helper()
	folder, err := servertest.Dir()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "mode=0777,size="+size); err != nil {
		t.Fatalf("a small disk is needed, which only root can mount: %v", err)
	}
	s, err := sandbox.StartRedis(t.Context(), sandbox.RedisOptions{Dir: folder + "/redis",
		Args: append([]string{"--requirepass", secret}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		_ = os.Remove(folder)
	})
	return connect(t, s.URL), folder
}

// On a full disk nothing is tried; where it was, the server refuses every write,
// and a save with room again ends that.
func TestBGSaveOnAFullDisk(t *testing.T) {
	t.Parallel()
	r, folder := smallDisk(t, "24m", "--save", "3600 1")
	// Values that no compression makes smaller.
	do(t, r, "eval",
		`for i=1,100 do local s={} for j=1,2500 do s[j]=redis.sha1hex(i..":"..j) end redis.call("set","key"..i,table.concat(s)) end`, 0)
	action := redis.BGSave(r)
	plan, err := action.Plan(t.Context(), remediate.Request{})
	if err != nil {
		t.Fatalf("with room: %v", err)
	}
	ballast := folder + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = action.Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "MiB free", "MISCONF", "Free space first")
	_, err = redis.Restart(r).Plan(t.Context(), remediate.Request{})
	if err == nil {
		t.Error("a restart is planned on a full disk")
	}

	// The disk fills between plan and act.
	err = action.Apply(t.Context(), fence(), plan.Steps[0])
	if err == nil || !strings.Contains(err.Error(), "the save failed") || !strings.Contains(err.Error(), "MISCONF") {
		t.Errorf("Apply: %v", err)
	}
	if err := r.Client.Set(t.Context(), "k", "v", 0).Err(); err == nil || !strings.Contains(err.Error(), "MISCONF") {
		t.Errorf("a write: %v; the test did not make the server refuse it", err)
	}
	_, err = action.Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, "Free space first")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if plan, err = action.Plan(t.Context(), remediate.Request{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(plan.Facts, "; "), "the last attempt failed") {
		t.Errorf("the plan does not mention it: %q", plan.Facts)
	}
	if err := action.Apply(t.Context(), fence(), plan.Steps[0]); err != nil {
		t.Fatal(err)
	}
	do(t, r, "set", "k", "v")
}

// The required disk space is reported.
func TestBGSaveParameters(t *testing.T) {
	action := redis.BGSave(server(t))
	for _, params := range []map[string]string{{"disk": "2"}, {"memory": "-1"}, {"disk": "much"}, {"memory": "NaN"}} {
		_, err := action.Plan(t.Context(), remediate.Request{Params: params})
		refuses(t, err, remediate.ReasonSubject, "want a number from 0 to 1")
	}
	if _, err := action.Plan(t.Context(), remediate.Request{Params: map[string]string{"disk": "0.5",
		"memory": "0"}}); err != nil {
		t.Error(err)
	}
}

// There is no room in a folder that somebody has removed.
func TestBGSaveInAFolderThatIsGone(t *testing.T) {
	s, r := processOf(t)
	if err := os.RemoveAll(s.Dir); err != nil {
		t.Fatal(err)
	}
	_, err := redis.BGSave(r).Plan(t.Context(), remediate.Request{})
	refuses(t, err, remediate.ReasonUnfit, s.Dir+" was removed")
}
