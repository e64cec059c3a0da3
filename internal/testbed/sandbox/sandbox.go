// Package sandbox starts private PostgreSQL and Redis servers from the installed
// binaries, in a folder that is given, for the demo and for tests. They run as a
// user without rights even when we are root, listen on this machine only, and
// die with the process that started them, however it ends.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = 2 * time.Minute // a start on a machine with much else to do
	stopWithin  = time.Minute     // a checkpoint on one
	signalEvery = time.Second
)

// WriteProgram writes a program that is run afterwards. While it is open for writing no child process begins: one
// that begins in between has it open too, and until that one runs its own program Linux refuses to run this one
// ("text file busy").
func WriteProgram(path, text string, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), mode)
}

// A child is a server process.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start starts a program that is killed when we end, by SIGKILL where it names no signal
// itself, and returns what waits for its end, as often as it is called. Linux sends the
// signal when the thread ends that has started the program, and threads end here: without
// this, a program would be killed by what another test does.
func Start(cmd *exec.Cmd) (wait func() error, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = cmp.Or(cmd.SysProcAttr.Pdeathsig, syscall.SIGKILL)
	began, ended := make(chan error, 1), make(chan struct{})
	var how error
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		began <- err
		if err == nil {
			how = cmd.Wait()
		}
		close(ended)
	}()
	return func() error {
		<-ended
		return how
	}, <-began
}

// start runs a server, with env beside our own environment.
func start(path, dir string, env []string, logTo *os.File, args ...string) (*child, error) {
	attr, err := unprivileged()
	if err != nil {
		return nil, err
	}
	return startAs(attr, path, dir, env, logTo, args...)
}

// startAsRoot runs a server that needs the rights that we have.
func startAsRoot(path, dir string, logTo *os.File, args ...string) (*child, error) {
	return startAs(&syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}, path, dir, nil, logTo, args...)
}

func startAs(
	attr *syscall.SysProcAttr, path, dir string, env []string, logTo *os.File, args ...string,
) (*child, error) {
	c := &child{cmd: exec.Command(path, args...), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr, c.cmd.SysProcAttr = dir, logTo, logTo, attr
	wait, err := Start(c.cmd)
	if err == nil {
		go func() {
			_ = wait() // how it ended is in its log
			close(c.done)
		}()
	}
	return c, err
}

// end sends a signal, again and again, since Redis does not heed one while it
// writes its first append-only file, and kills the process when none ends it.
func (c *child) end(s syscall.Signal) error {
	for end := time.Now().Add(stopWithin); time.Now().Before(end); {
		_ = c.cmd.Process.Signal(s) // it may have ended already
		select {
		case <-c.done:
			return nil
		case <-time.After(signalEvery):
		}
	}
	c.kill()
	return fmt.Errorf("%s did not stop within %s and was killed", filepath.Base(c.cmd.Path), stopWithin)
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.done
}

// wait asks until the server answers. A server that ends instead is an error
// that has the tail of its log.
func (c *child) wait(ctx context.Context, logFile string, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	name := filepath.Base(c.cmd.Path)
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("%s ended at once:\n%s", name, tail(logFile))
		case <-ctx.Done():
			c.kill()
			return fmt.Errorf("%s does not answer: %w\n%s", name, err, tail(logFile))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// account returns the user that the servers run as, nil where it is ourselves.
func account() (uid, gid int, other bool, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, false, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		return uid, gid, true, errors.Join(err1, err2)
	}
	return 0, 0, false, errors.New("no user to run the servers as: " +
		"neither postgres nor the system's unprivileged user exists")
}

func unprivileged() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true} // a group of their own: Ctrl-C is for us
	uid, gid, other, err := account()
	if other {
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return attr, err
}

// folder makes a folder that belongs to the servers' user.
func folder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	uid, gid, other, err := account()
	if other && err == nil {
		err = os.Chown(dir, uid, gid)
	}
	return err
}

// binary finds a program in PATH or where Debian keeps PostgreSQL's.
func binary(name, debian string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is well formed
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not installed: apt-get install %s", name, debian)
	}
	slices.SortFunc(found, func(a, b string) int { return major(b) - major(a) })
	return found[0], nil
}

func major(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 sorts last
	return n
}

// FreePort returns a free port of this machine, which no other process gets from it until this
// one ends: a server that is stopped finds its port again. It is below those that the kernel
// gives to outgoing connections, so that none of them takes it before its server does.
func FreePort() (int, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("upkeep-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	var err error
	for range 1000 {
		port := 15000 + rand.IntN(15000)
		var mine bool
		if mine, err = reserve(filepath.Join(dir, strconv.Itoa(port))); err != nil || !mine {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no port is free: %w", err)
}

// reserve locks a file until the process ends, and reports false where another one has it,
// or this one already.
func reserve(path string) (mine bool, err error) {
	file, err := syscall.Open(path, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if err := syscall.Flock(file, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false, syscall.Close(file)
	}
	return true, nil // the descriptor stays open
}
