// Package journal reads the journal of systemd, by journalctl: the entries of some units, each once,
// from where they were left.
package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ai-micro-service/upkeep/internal/platform/child"
)

// fields are those that are asked for, beside the place and the time.
const fields = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,OBJECT_SYSTEMD_UNIT,COREDUMP_UNIT"

// Follow gives take each entry that is behind a cursor, and then those that are written, until the context ends
// or journalctl does. It waits for take. The cursor need not be there any more; an empty one is before all
// entries.
func (j Journal) Follow(ctx context.Context, cursor string, take func(Entry)) error {
	first := true
	return j.run(ctx, j.Units, cursor, true, func(e Entry) {
		// journalctl --after-cursor passes over an entry where the cursor is that of another unit.
		if same := first && e.Cursor == cursor; !same {
			take(e)
		}
		first = false
	})
}

// Last returns the cursor of the last entry of any unit; "" where there is no entry.
func (j Journal) Last(ctx context.Context) (cursor string, err error) {
	err = j.run(ctx, nil, "", false, func(e Entry) { cursor = e.Cursor }, "--lines=1")
	return cursor, err
}

// Oldest returns when the oldest entry was written; the zero time where no entry exists.
func (j Journal) Oldest(ctx context.Context) (at time.Time, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = j.run(ctx, nil, "", false, func(e Entry) {
		if at.IsZero() {
			at = e.At
		}
		cancel() // there may be millions
	})
	if !at.IsZero() {
		err = nil
	}
	return at, err
}

// run runs journalctl, and gives take what it writes.
func (j Journal) run(ctx context.Context, units []string, cursor string, follow bool, take func(Entry),
	more ...string) error {
	program, err := child.Find("journalctl")
	if err != nil {
		return fmt.Errorf("%w: install systemd, or remove journal from the configuration", err)
	}
	args := append([]string{"--output=json", "--output-fields=" + fields, "--all", "--no-pager"}, more...)
	if follow {
		args = append(args, "--follow", "--no-tail")
	}
	if j.Folder != "" {
		args = append(args, "--directory="+j.Folder)
	}
	for _, unit := range units {
		args = append(args, "--unit="+unit)
	}
	if cursor != "" {
		if !regexp.MustCompile(`^[a-z0-9=;]+$`).MatchString(cursor) {
			return fmt.Errorf("cursor %q: no cursor of a journal", cursor)
		}
		args = append(args, "--cursor="+cursor)
	}
	out := &lines{ctx: ctx, take: func(line []byte) {
		if e, ok := j.read(line); ok {
			take(e)
		}
	}}
	said := &complaints{}
	p, err := child.StartApart(child.Program{Path: program, Args: args, Env: []string{"LC_ALL=C", "SYSTEMD_COLORS=0"}},
		out, said)
	if err != nil {
		return err
	}
	select {
	case <-p.Ended():
	case <-said.denied():
		p.Kill() // it would wait for entries that it does not see
		<-p.Ended()
	case <-ctx.Done():
		p.Kill()
		<-p.Ended()
		return context.Cause(ctx)
	}
	return said.why(p.Err(), follow)
}

// complaints is what journalctl writes to its standard error.
type complaints struct {
	mu     sync.Mutex
	text   []byte
	closed chan struct{} // when it says that it may not read
}

const complaintsMost = 8 << 10

// Write implements io.Writer.
func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, b[:min(len(b), complaintsMost-len(c.text))]...)
	select {
	case <-c.channel():
	default:
		if c.hidden() {
			close(c.channel())
		}
	}
	return len(b), nil
}

// hidden reports whether it may not read entries: then it says so, and shows its own user's.
func (c *complaints) hidden() bool {
	return bytes.Contains(c.text, []byte("not seeing messages from other users"))
}

func (c *complaints) channel() chan struct{} {
	if c.closed == nil {
		c.closed = make(chan struct{})
	}
	return c.closed
}

func (c *complaints) denied() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channel()
}

// why says why journalctl has ended.
func (c *complaints) why(err error, follow bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(c.text), "?"))
	last := text[strings.LastIndexByte(text, '\n')+1:]
	switch {
	case c.hidden(), strings.Contains(text, "insufficient permissions"), strings.Contains(text, "Permission denied"):
		return errors.New("upkeep may not read the journal: add its user to the group systemd-journal " +
			"(SupplementaryGroups=systemd-journal in its unit) and restart it")
	case err != nil:
		return fmt.Errorf("journalctl: %w: %.300q", err, last)
	case follow:
		return fmt.Errorf("journalctl has ended: %.300q", last)
	}
	return nil
}

const (
	// longest is what is kept of an entry. journald cuts lines at 48 KiB; what a program sends itself
	// may be longer, and six times as long where each byte is escaped.
	longest = 4 << 20

	// behind is what is kept of the end of one that is longer.
	behind = 64 << 10
)

// lines gives take each line that is written.
type lines struct {
	ctx  context.Context //nolint:containedctx // a writer is given none
	take func([]byte)
	kept []byte
	end  []byte // of a line that is too long
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		if l.ctx.Err() != nil {
			return 0, io.ErrClosedPipe
		}
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		l.keep(line)
		if b = rest; !whole {
			return n, nil
		}
		l.take(append(l.kept, l.end...))
		if l.kept, l.end = l.kept[:0], l.end[:0]; cap(l.kept) > longest/4 {
			l.kept, l.end = nil, nil
		}
	}
	return n, nil
}

func (l *lines) keep(b []byte) {
	room := min(len(b), longest-len(l.kept))
	l.kept = append(l.kept, b[:room]...)
	if l.end = append(l.end, b[room:]...); len(l.end) > 2*behind {
		l.end = append(l.end[:0], l.end[len(l.end)-behind:]...)
	}
}
