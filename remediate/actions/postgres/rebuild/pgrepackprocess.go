package rebuild

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
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

// A running is a pg_repack at work.
type running struct {
	*child.Process
	secret string // that must not be in what it says
	output tail
}

// launch starts a program with an environment of its own. It gets SIGINT when we are
// killed, on which pg_repack cleans up.
func launch(path string, args, env []string) (*running, error) {
	w := &running{secret: secretOf(env)}
	var err error
	w.Process, err = child.Start(child.Program{Path: path, Args: args, Env: env}, &w.output)
	return w, err
}

// end interrupts the program, so that it cleans up, and kills it when it does not
// end of that.
func (w *running) end() {
	w.Interrupt()
	select {
	case <-w.Ended():
	case <-time.After(session.CancelWithin):
		w.Kill()
		<-w.Ended()
	}
}

// fault is what the program says when it has not ended well. That it has is for
// the table to say.
func (w *running) fault() error {
	select {
	case <-w.Ended():
	default:
		return nil
	}
	said := w.output.String()
	if w.secret != "" {
		said = strings.ReplaceAll(said, w.secret, "<redacted>")
	}
	if w.Err() != nil {
		return fmt.Errorf("%w: %s", w.Err(), said)
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
