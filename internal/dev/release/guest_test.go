package release_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
)

// A guest is a Debian in a folder, with processes and a network of its own: what is installed in it
// touches nothing outside, and no service of the machine can be reached from it.
type guest struct {
	root string
	init string // the process id of its first process
}

// enter copies the Debian that tools/install-deps.sh made, and starts it.
func enter(t *testing.T) *guest {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can install a package: run the tests as root, or in a container that is privileged")
	}
	const made = "/var/cache/upkeep/debian-root-1"
	if _, err := os.Stat(made); err != nil {
		t.Fatalf("%v: make test makes it", err)
	}
	dir, err := os.MkdirTemp("", "upkeep-guest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what was mounted in it is gone with its processes
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g := &guest{root: filepath.Join(dir, "root")}
	run(t, "cp", "-a", made, g.root)
	cmd := exec.Command("unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "sh", "-euc",
		`mount -t proc proc "$1/proc"; ip link set lo up; echo up; exec sleep infinity`, "sh", g.root)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // only read
	cmd.Stdout, cmd.Stderr = in, in
	wait, err := sandbox.Start(cmd)
	_ = in.Close() // the guest has its own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all processes of the guest
		_ = wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the guest does not start: %q %v", line, err)
	}
	child := children(t, cmd.Process.Pid)
	if len(child) != 1 {
		t.Fatalf("the guest has the processes %v", child)
	}
	g.init = strconv.Itoa(child[0])
	return g
}

// children are the processes that a process has started.
func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid)) // it may have ended
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, child)
	}
	return all
}

// command is a program that runs in the guest as a user.
func (g *guest) command(user, name string, args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--target", g.init, "--mount", "--pid", "--net", "--ipc",
		"chroot", "--userspec=" + user, g.root, name}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "LC_ALL=C.UTF-8",
		"DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// try runs a program in the guest as root.
func (g *guest) try(name string, args ...string) (string, error) {
	out, err := g.command("root:root", name, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return string(out), err
}

func (g *guest) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := g.try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// put copies a file into the guest.
func (g *guest) put(t *testing.T, from, to string) {
	t.Helper()
	run(t, "cp", from, filepath.Join(g.root, to))
}

// mode is how a file looks: its mode, owner and group.
func (g *guest) mode(t *testing.T, path string) string {
	t.Helper()
	return strings.TrimSpace(g.run(t, "stat", "-c", "%a %U:%G", path))
}

// files are the paths of all files of the guest, but for what dpkg and adduser note and what a start empties.
func (g *guest) files(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(g.root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		inside := strings.TrimPrefix(path, g.root)
		for _, noted := range []string{"/var/lib/dpkg", "/var/log", "/proc", "/etc/passwd-", "/etc/group-", "/etc/shadow-",
			"/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/var/cache", "/tmp/", "/run/"} {
			if strings.HasPrefix(inside, noted) {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
		}
		all = append(all, inside)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
