package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/ai-micro-service/upkeep/collectors"
	"github.com/ai-micro-service/upkeep/internal/platform/target"
	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// alone runs a test in a process that has a table of mounts and of processes of its own, as the machine's
// first process has. In that process it returns a folder, and "" in all others.
//
// Nothing that the test does can reach the machine: the folder is a file system in memory, all else is
// read-only there, what is mounted goes with the process, and the folder below is removed by a process
// that sees none of it. A test must not bind anything of the machine into a folder that is removed.
func alone(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("UPKEEP_TEST_ALONE"); dir != "" {
		must(t, unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must(t, unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"))
		if err := os.WriteFile("/etc/upkeep-test", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Fatalf("the machine can be written to: %v", err)
		}
		return dir
	}
	dir, err := os.MkdirTemp("", "upkeep-mounts") // below folders that all may enter
	must(t, err)
	self := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	self.Env = append(os.Environ(), "UPKEEP_TEST_ALONE="+dir)
	self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	var out strings.Builder
	self.Stdout, self.Stderr = &out, &out
	wait, err := sandbox.Start(self)
	if err == nil {
		err = wait()
	}
	must(t, os.Remove(dir)) // it is empty here
	if err != nil || !strings.Contains(out.String(), "--- PASS") {
		t.Fatalf("%v (the test mounts file systems, which root may)\n%s", err, out.String())
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}

// read returns the values of the collector below a folder: metric and mount point, and the reason.
func read(t *testing.T, root, below string) map[string]string {
	t.Helper()
	c := Filesystem(&target.Host{Name: "s", Root: root})
	w := collectors.NewWriter(c)
	must(t, c.Collect(t.Context(), w))
	all := make(map[string]string)
	for line := range strings.Lines(string(w.Text())) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "upkeep_host_filesystem_"), "{")
		_, rest, is := strings.Cut(rest, `mountpoint="`+below)
		point, rest, ends := strings.Cut(rest, `",fstype`)
		if !is || !ends {
			continue
		}
		value := strings.TrimSpace(rest[strings.LastIndex(rest, " "):])
		if _, reason, has := strings.Cut(rest, `reason="`); has {
			value = strings.Split(reason, `"`)[0]
		}
		all[name+" "+point] = value
	}
	return all
}

// What is odd about mounts is reported as it is: names, what covers what, whose view is read-only, and what
// upkeep cannot reach.
func TestMountsOfAMachine(t *testing.T) {
	dir := alone(t)
	if dir == "" {
		return
	}
	with, end := oddlyMounted(t, dir)
	as(t, 65534, func() {
		defer end()
		oddlyRead(t, dir)
	})
	on := func(point string) string {
		point = filepath.Join(dir, point)
		must(t, os.MkdirAll(point, 0o755))
		return point
	}

	// A root that shows the machine as it was when it was mounted there, as a container's does.
	root := on("root")
	must(t, unix.Mount("tmpfs", root, "tmpfs", 0, ""))
	must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	must(t, os.Mkdir(filepath.Join(root, "proc"), 0o755))
	must(t, unix.Mount("/proc", filepath.Join(root, "proc"), "", unix.MS_BIND, ""))
	must(t, unix.Mount(dir, filepath.Join(root, dir), "", unix.MS_BIND|unix.MS_REC, ""))
	with("later", "later")
	got := read(t, root, dir)
	if got["unread /later"] != elsewhere || got["size_bytes /later"] != "" || got["readonly /my disk"] != "0" {
		t.Errorf("seen through a root: %v", got)
	}
}

// Which mounts a path leads to is what the kernel says, however they were mounted over each other, moved
// and removed.
func TestUncoveredIsWhatTheKernelSays(t *testing.T) {
	dir, hidden := alone(t), 0
	if dir == "" {
		return
	}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		top := filepath.Join(dir, fmt.Sprint("top ", seed))
		must(t, os.Mkdir(top, 0o755))
		place := func() string {
			path := top
			for range 1 + r.IntN(3) {
				path = filepath.Join(path, string(rune('a'+r.IntN(2))))
			}
			must(t, os.MkdirAll(path, 0o755))
			return path
		}
		for range 12 {
			switch at := place(); r.IntN(5) {
			case 0:
				must(t, unix.Mount(place(), at, "", unix.MS_BIND|unix.MS_REC, ""))
			case 1:
				_ = unix.Unmount(at, unix.MNT_DETACH) // nothing may be mounted there
			case 2:
				_ = unix.Mount(at, place(), "", unix.MS_MOVE, "") // nor there, or it is below itself
			default:
				must(t, unix.Mount("tmpfs", at, "tmpfs", 0, ""))
			}
		}
		all, err := mountTable("/")
		must(t, err)
		seen := uncovered(all)
		for _, m := range all {
			if !strings.HasPrefix(m.MountPoint, top) {
				continue
			}
			var x unix.Statx_t
			leads := false
			if err := unix.Statx(unix.AT_FDCWD, m.MountPoint, unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &x); err == nil {
				leads = x.Mnt_id == uint64(m.MountID)
			}
			if seen[m] != leads {
				t.Fatalf("seed %d: %s of mount %d: uncovered %t, the kernel %t", seed, m.MountPoint, m.MountID, seen[m], leads)
			}
			if !leads {
				hidden++
			}
		}
	}
	if hidden < 40 {
		t.Errorf("%d mounts were covered: the test covers too few", hidden)
	}
}

// A table whose first mount is not the machine's, as in a chroot, still tells what is there.
func TestUncoveredWithoutATop(t *testing.T) {
	all := []*procfs.MountInfo{{MountID: 5, ParentID: 3, MountPoint: "/data"}, {MountID: 6, ParentID: 5, MountPoint: "/data/x"},
		{MountID: 7, ParentID: 4, MountPoint: "/other"}}
	if seen := uncovered(all); !seen[all[0]] || !seen[all[1]] || !seen[all[2]] {
		t.Errorf("%v", seen)
	}
	if got := []string{unescaped(`a\040b`), unescaped(`\`), unescaped(`x\04`), unescaped(`\0400`), unescaped(`\999`),
		unescaped(`\134040`)}; !slices.Equal(got, []string{"a b", `\`, `x\04`, " 0", `\999`, `\040`}) {
		t.Errorf("%q", got)
	}
}
