package rebuild

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ai-micro-service/upkeep/remediate/actions/postgres/session"
)

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*outputKept {
		t.text = bytes.Clone(t.text[len(t.text)-outputKept:])
	}
	return len(p), nil
}

// String returns it in one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(t.text[max(0, len(t.text)-outputKept):]), "�")
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// A child is a program that does not outlive us.
type child struct {
	cmd    *exec.Cmd
	secret string // that must not be in what it says
	output tail
	ended  chan struct{}
	err    error // how it ended; to be read after that
}

// launch starts a program with an environment of its own. When we are killed it
// gets SIGINT, on which pg_repack cleans up. Linux sends that when the thread ends
// that has started it, so the thread is kept.
func launch(path string, args, env []string) (*child, error) {
	c := &child{cmd: exec.Command(path, args...), secret: secretOf(env), ended: make(chan struct{})}
	c.cmd.Env, c.cmd.Dir = env, "/"
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	// a group of its own: Ctrl-C is for us
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT, Setpgid: true}
	began := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := c.cmd.Start()
		began <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.ended)
		}
	}()
	return c, <-began
}

// end interrupts the program, so that it cleans up, and kills it when it does not
// end of that.
func (c *child) end() {
	_ = c.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	select {
	case <-c.ended:
	case <-time.After(session.CancelWithin):
		_ = c.cmd.Process.Kill() // as above
		<-c.ended
	}
}

// fault is what the program says when it has not ended well. That it has is for
// the table to say.
func (c *child) fault() error {
	select {
	case <-c.ended:
	default:
		return nil
	}
	said := c.output.String()
	if c.secret != "" {
		said = strings.ReplaceAll(said, c.secret, "<redacted>")
	}
	if c.err != nil {
		return fmt.Errorf("%w: %s", c.err, said)
	}
	if strings.Contains(said, "WARNING") || strings.Contains(said, "ERROR") || strings.Contains(said, "Skipping") {
		return errors.New(said)
	}
	return nil
}

// secretOf is the password in an environment.
func secretOf(env []string) string {
	for _, e := range env {
		if secret, ok := strings.CutPrefix(e, "PGPASSWORD="); ok {
			return secret
		}
	}
	return ""
}
