package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/product/console"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

// stranger is another user of the machine.
const stranger = 65534

// asStranger runs a program as another user.
func asStranger(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// passable lets other users through to a folder of the test.
func passable(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// H4: another user of the machine can forge no approval: the key that signs them is in data_dir,
// of which he can read nothing, also where the umask and the folder would let him; and where he
// could, upkeep does not start.
func TestAttackFromThisMachine(t *testing.T) {
	t.Parallel()
	f := newFortWith(t, "umask 000", "")
	passable(t, f.dir)
	data := filepath.Join(f.dir, "data")
	servertest.Eventually(t, "the store is written", func() error {
		_, err := os.Stat(filepath.Join(data, "upkeep.db-wal"))
		return err
	})
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it was removed meanwhile
		}
		if info.Mode().Perm()&0o077 != 0 && info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "upkeep.db", "upkeep.db-wal", "admin-token"} {
		if out, err := asStranger(t, "head", "-c1", filepath.Join(data, name)); err == nil {
			t.Errorf("another user reads %s: %s", name, out)
		}
	}
	// A request from the same machine has no rights by itself, also as root.
	for _, role := range []access.Role{access.None, access.Deliver, access.View, access.Operate} {
		for _, path := range []string{"/runs/1/approve", "/runs/1/reject", "/policies/x/promote"} {
			status, text := try(t, "POST", f.address, console.Prefix+path, `{"by":"ann (DBA)"}`, as(role))
			if status != http.StatusForbidden && status != http.StatusUnauthorized {
				t.Errorf("%s as %s: %d %s", path, role, status, text)
			}
		}
	}
	for _, token := range []string{"", "x", "e30.e30", strings.Repeat("A", 5000)} {
		form := "answer=approve&name=ann&token=" + token
		if status, text := try(t, "POST", f.address, "/approve", form, with("Content-Type",
			"application/x-www-form-urlencoded")); status < 400 || strings.Contains(text, "Approved") {
			t.Errorf("a made-up link: %d %.200s", status, text)
		}
	}
	f.stop(t)
	for mode, mend := range map[os.FileMode]string{0o755: "chmod 700 " + data, 0o750: "chmod 700 " + data,
		0o777: "chmod 700 " + data} {
		if err := os.Chmod(data, mode); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"serve", "check"} {
			out, err := asOwner(t, f.dir, command, "--config", "upkeep.yaml")
			if err == nil || !strings.Contains(out, mend) {
				t.Errorf("%s with a data_dir of mode %04o: %v %s", command, mode, err, out)
			}
		}
	}
}

// stop ends an upkeep by SIGTERM and waits for its end.
func (f *fort) stop(t *testing.T) {
	t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.awaitEnd(t)
}

// awaitEnd waits until an upkeep has ended.
func (f *fort) awaitEnd(t *testing.T) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(servertest.Patience):
		t.Fatal("upkeep does not end")
	}
}

// What upkeep has in memory is for no other process of its user: not by ptrace and not in a core
// dump. A process of that user that is not protected can be read.
func TestAttackOnMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	passable(t, dir)
	binary, err := exec.LookPath("upkeep")
	if err != nil {
		t.Fatal(err)
	}
	// By another program: a file that is open for writing here, or in what another test starts at that
	// moment, cannot be executed.
	own := filepath.Join(dir, "upkeep")
	if out, err := exec.CommandContext(t.Context(), "cp", binary, own).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if err := os.Chmod(own, 0o755); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	write(t, filepath.Join(dir, "upkeep.yaml"), fmt.Sprintf("data_dir: data\nweb: {listen: %q}\n"+
		"targets: {host: [{name: here}]}\nembedded: {enabled: false}\n", address))
	grant(t, dir)
	for _, path := range []string{"", "upkeep.yaml", "data", "data/admin-token"} {
		if err := os.Chown(filepath.Join(dir, path), stranger, stranger); err != nil {
			t.Fatal(err)
		}
	}
	start := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOTRACEBACK=crash", "S3CRET=s3cret-of-the-environment")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
		return cmd
	}
	open := start("sleep", "1000")
	f := &fort{site: site{dir: dir, address: address}, cmd: start("sh", "-c",
		"ulimit -c unlimited 2>/dev/null; exec "+own+" serve --config upkeep.yaml")}
	f.awaitReady(t)
	read := func(cmd *exec.Cmd, file string) (string, error) {
		return asStranger(t, "head", "-c", "100000", fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, file))
	}
	for _, file := range []string{"environ", "maps"} {
		if out, err := read(open, file); err != nil {
			t.Errorf("%s of a process that is not protected: %v %s", file, err, out)
		}
		if out, err := read(f.cmd, file); err == nil {
			t.Errorf("%s of upkeep can be read: %.200s", file, out)
		}
	}
	if err := f.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	f.awaitEnd(t)
	status, _ := f.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.CoreDump() {
		t.Errorf("it ended by %v, with a core dump: %v", f.cmd.ProcessState, status.CoreDump())
	}
}

// M8: an engine names a pipe as the log of a container: nothing waits for it, and upkeep ends
// when it should.
func TestAttackByALog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const id = "4f1d00"
	own := filepath.Join(dir, "containers", id)
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(own, id+"-json.log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "engine.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("API-Version", "1.41")
			w.Header().Set("Content-Type", "application/json")
			switch {
			case strings.HasSuffix(r.URL.Path, "/containers/json"):
				_, _ = io.WriteString(w, `[{"Id":"`+id+`","Names":["/shadow"],"State":"running"}]`)
			case strings.HasSuffix(r.URL.Path, "/containers/"+id+"/json"):
				_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Name": "/shadow", "LogPath": pipe,
					"State":      map[string]any{"Status": "running", "StartedAt": "2026-03-01T12:00:00Z"},
					"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": "json-file"}},
					"Config":     map[string]any{"Labels": map[string]string{}}})
			default:
				_, _ = io.WriteString(w, "{}")
			}
		})}
	go func() { _ = engine.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = engine.Close() })
	f := &fort{site: site{dir: dir, address: freeAddress(t)}}
	write(t, filepath.Join(dir, "upkeep.yaml"), fmt.Sprintf("data_dir: data\nweb: {listen: %q}\n"+
		"targets: {docker: [{name: engine, host: 'unix://%s'}]}\nembedded: {enabled: false}\n"+
		"collectors: {interval: 300ms}\n", f.address, socket))
	f.cmd = spawn(t, dir, "upkeep", "serve", "--config", "upkeep.yaml")
	f.awaitReady(t)
	for _, collector := range []string{"logs/lines", "docker/logsize"} {
		servertest.Eventually(t, collector+" says that it is no log", func() error {
			_, text := try(t, "GET", f.address, "/metrics", "", with("Authorization", "Bearer "+adminToken))
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "upkeep_collector_success{") && strings.Contains(line, `"`+collector+`"`) &&
					strings.HasSuffix(strings.TrimSpace(line), " 0") {
					return nil
				}
			}
			return fmt.Errorf("no failure of it")
		})
	}
	f.stop(t)
}

// L5: what others have put into the folder of an export does not make it write elsewhere.
func TestAttackOnExport(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "victim")
	write(t, outside, "untouched")
	inode := func(path string) uint64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := info.Sys().(*syscall.Stat_t)
		return s.Ino
	}
	for what, plant := range map[string]func(dir string) error{
		"a link to a file": func(dir string) error {
			return os.Symlink(outside, filepath.Join(dir, "alerts", "postgres.rules.yaml"))
		},
		"another name of a file": func(dir string) error {
			return os.Link(outside, filepath.Join(dir, "alerts", "postgres.rules.yaml"))
		},
		"a link under the name of a new file": func(dir string) error {
			return os.Symlink(outside, filepath.Join(dir, "alerts", "postgres.rules.yaml.new"))
		},
		"a pipe": func(dir string) error {
			return syscall.Mkfifo(filepath.Join(dir, "alerts", "postgres.rules.yaml"), 0o600)
		},
		"a link to nothing": func(dir string) error {
			return os.Symlink(outside+"-2", filepath.Join(dir, "alerts", "postgres.rules.yaml"))
		},
		"a link to a folder": func(dir string) error {
			if err := os.Remove(filepath.Join(dir, "alerts")); err != nil {
				return err
			}
			return os.Symlink(filepath.Dir(outside), filepath.Join(dir, "alerts"))
		},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "alerts"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := plant(dir); err != nil {
			t.Fatal(err)
		}
		before := inode(outside)
		out, err := asOwner(t, dir, "export", dir)
		if folder := what == "a link to a folder"; (err != nil) != folder {
			t.Errorf("%s: %v %s", what, err, out)
		}
		text, lost := os.ReadFile(outside)
		all, _ := os.ReadDir(filepath.Dir(outside)) // what there is
		if lost != nil || string(text) != "untouched" || inode(outside) != before || len(all) != 1 {
			t.Errorf("%s: the file outside says %.100q, %v; %d files", what, text, lost, len(all))
		}
		if info, err := os.Lstat(filepath.Join(dir, "alerts", "postgres.rules.yaml")); err == nil &&
			!info.Mode().IsRegular() {
			t.Errorf("%s is still there: %s", what, info.Mode())
		}
	}
}
