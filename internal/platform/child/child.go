// Package child starts programs. It is the only place that does: a child gets an environment
// of its own with nothing of ours in it, a process group that is killed as a whole, bounded
// output, and no shell.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// outputMost is how much a program may write: an audit of a large service is a few MB.
	outputMost = 16 << 20

	// saidMost is how much of its complaints is kept.
	saidMost = 64 << 10

	// argumentsMost is what Linux takes for one argument.
	argumentsMost = 128 << 10

	// drain is how long the output of a program that was killed is waited for.
	drain = time.Second
)

// A Program is what is started.
type Program struct {
	Path string   // absolute, as Find returns it
	Args []string // without the program's name
	Env  []string // name=value, beside PATH, HOME and LANG; a later one replaces an earlier one
	Dir  string   // the working directory; / where it is empty
	User *User    // who it runs as; as we do where it is nil
}

// A User is who a program runs as. Only root can run one as another user.
type User struct{ UID, GID uint32 }

// A Result is what a program wrote.
type Result struct{ Out, Said []byte }

// Complaint returns the last line of what it wrote to its standard error.
func (r Result) Complaint() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(r.Said), "�"))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// ErrNotInstalled says that a program is not in PATH.
var ErrNotInstalled = errors.New("not installed")

// Find returns where a program is: in the absolute folders of PATH. A folder like "." is
// skipped, since the program in it would be anybody's.
func Find(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("%q: no name of a program", name)
	}
	for _, dir := range filepath.SplitList(path()) {
		file := filepath.Join(dir, name)
		if found, err := exec.LookPath(file); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrNotInstalled)
}

// path is our PATH without relative folders.
func path() string {
	var kept []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			kept = append(kept, dir)
		}
	}
	return strings.Join(kept, string(filepath.ListSeparator))
}

// environment is what a program gets. HOME is a folder that does not exist, so that no
// configuration of ours is found there.
func (p Program) environment() []string {
	return append([]string{"PATH=" + path(), "HOME=/nonexistent", "LANG=C.UTF-8"}, p.Env...)
}

// command builds what is started, once it was checked.
func (p Program) command(ctx context.Context) (*exec.Cmd, error) {
	switch {
	case !filepath.IsAbs(p.Path) || strings.Contains(p.Path, "\x00"):
		return nil, fmt.Errorf("program %q: want an absolute path", p.Path)
	case p.Dir != "" && !filepath.IsAbs(p.Dir):
		return nil, fmt.Errorf("%s: working directory %q: want an absolute path", p.Path, p.Dir)
	}
	for i, arg := range p.Args {
		if strings.Contains(arg, "\x00") || len(arg) >= argumentsMost {
			return nil, fmt.Errorf("%s: argument %d: has a NUL, or is longer than %d bytes", p.Path, i+1, argumentsMost)
		}
	}
	for i, e := range p.Env { // the value may be a secret, so it is not named
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.Contains(e, "\x00") {
			return nil, fmt.Errorf("%s: environment %d: want name=value", p.Path, i+1)
		}
	}
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env, cmd.Dir = p.environment(), p.Dir
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.User != nil && (int(p.User.UID) != os.Geteuid() || int(p.User.GID) != os.Getegid()) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.User.UID, Gid: p.User.GID}
	}
	return cmd, nil
}

// Run runs a program until it ends. When the context ends, it and everything that it has
// started are killed; when it ends by itself, what it has left behind is killed.
func Run(ctx context.Context, p Program) (r Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd, err := p.command(ctx)
	if err != nil {
		return r, err
	}
	out := &bounded{most: outputMost, over: func() {
		cancel(fmt.Errorf("it wrote more than %d bytes", outputMost))
	}}
	said := &bounded{most: saidMost}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, said, drain
	cmd.Cancel = func() error { return endGroup(cmd.Process.Pid) }
	if err := ctx.Err(); err != nil {
		return r, context.Cause(ctx)
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	await(cmd.Process.Pid)
	err = cmd.Wait()
	r = Result{Out: out.kept.Bytes(), Said: said.kept.Bytes()}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) { // it has ended well, what it left behind was killed
		err = nil
	}
	return r, err
}

// await waits until a program ends and kills what is left of its group. It does not collect
// the program before: its number would be free for another group.
func await(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = endGroup(pid) // nothing may be left
}

// endGroup kills a process group.
func endGroup(pid int) error {
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	return nil
}

// A bounded buffer keeps the beginning of what is written to it. It embeds no buffer, whose
// ReadFrom has no bound.
type bounded struct {
	kept bytes.Buffer
	most int
	over func()
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.kept.Len()
	if room >= len(p) {
		return b.kept.Write(p)
	}
	b.kept.Write(p[:room])
	if b.over != nil {
		b.over()
	}
	return len(p), nil
}
